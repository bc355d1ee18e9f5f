//! `quell authority --html`: the matrix as one page that loads nothing and runs no script. All text
//! is escaped; it decides nothing.

use std::collections::BTreeMap;

use quell_core::authority::matrix::{Cell, Decision};

use super::{View, decision};
use crate::junit::escape;

/// What the browser may do with the page: nothing but show it.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" \
content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<title>Quell: authority</title>\n<style>\n\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:84rem;padding:0 1rem;\
color:#1b1f24;background:#fff}\n\
h1{font-size:1.5rem;margin:0 0 .4rem}\nh2{font-size:1.15rem;margin:2rem 0 .5rem}\n\
p{margin:.3rem 0;max-width:60rem}\nnav a{margin-right:1rem}\n\
table{border-collapse:collapse;width:100%;margin:.3rem 0}\n\
th,td{border:1px solid #d5dae1;padding:.3rem .45rem;text-align:left;vertical-align:top;\
font-size:.86rem}\nth{background:#f3f5f8}\nthead th{position:sticky;top:0}\n\
span{display:inline-block;border-radius:.25rem;padding:0 .35rem;margin:.08rem .1rem .08rem 0}\n\
.a{background:#ffe0b8;color:#5a3200}\n.p{background:#dbe9ff;color:#12366f}\n\
.n{color:#6b7480}\ndetails{margin:.2rem 0 .6rem}\nsummary{cursor:pointer}\n\
li{margin:.1rem 0}\ncode{font:.95em ui-monospace,monospace}\n\
@media (prefers-color-scheme:dark){body{background:#14171b;color:#dfe4ea}\
th{background:#20252c}th,td{border-color:#3a424d}.a{background:#5a3a10;color:#ffdcae}\
.p{background:#1e3a66;color:#d5e5ff}.n{color:#8d97a5}a{color:#9cc2ff}}\n\
@media print{thead th{position:static}details{display:none}}\n\
</style>\n</head>\n<body>\n";

/// The whole page.
pub(super) fn page(view: &View, cells: &[&Cell]) -> String {
    let mut out = String::from(HEAD);
    let count = |wanted| cells.iter().filter(|cell| cell.decision == wanted).count();
    put!(
        out,
        "<h1>Authority</h1>\n<p>Which source, with which kind of signal, may trigger which action \
         on which class of identity. Each cell is the widest that the policy and the program's own \
         guard can ever permit; what it rests on stands under <em>reasons</em>. What is not named \
         never happens.</p>\n<p>{} cells: <span class=\"a\">{} autonomous</span> \
         <span class=\"p\">{} with approval</span> <span class=\"n\">{} never</span>. Mode \
         <code>{}</code>. Protected accounts, which are never acted on: {}.</p>\n\
         <p>Policy <code>{}</code></p>\n",
        cells.len(),
        count(Decision::Autonomous),
        count(Decision::Approval),
        count(Decision::Never),
        escape(view.policy.armed.mode.name()),
        view.policy.protected.accounts().len(),
        escape(&view.policy.digest.to_string()),
    );
    let mut sources: Vec<(&str, Vec<&Cell>)> = Vec::new();
    for cell in cells {
        match sources.last_mut().filter(|(source, _)| *source == cell.source) {
            Some((_, own)) => own.push(cell),
            None => sources.push((&cell.source, vec![cell])),
        }
    }
    out.push_str("<nav>");
    for (n, (source, _)) in sources.iter().enumerate() {
        put!(out, "<a href=\"#s{n}\">{}</a> ", escape(source));
    }
    out.push_str("</nav>\n");
    for (n, (source, own)) in sources.iter().enumerate() {
        putln!(out, "<h2 id=\"s{n}\">{}</h2>", escape(source));
        table(&mut out, own);
        reasons(&mut out, own);
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// Kinds down, classes across.
fn table(out: &mut String, cells: &[&Cell]) {
    let mut classes: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, BTreeMap<&str, Vec<&Cell>>)> = Vec::new();
    for cell in cells {
        if !classes.contains(&cell.class) {
            classes.push(cell.class);
        }
        let kind = cell.kind.name();
        if rows.last().is_none_or(|(last, _)| *last != kind) {
            rows.push((kind, BTreeMap::new()));
        }
        if let Some((_, row)) = rows.last_mut() {
            row.entry(cell.class).or_default().push(cell);
        }
    }
    out.push_str("<table>\n<thead><tr><th>kind</th>");
    classes.iter().for_each(|class| {
        put!(out, "<th>{}</th>", escape(class));
    });
    out.push_str("</tr></thead>\n<tbody>\n");
    for (kind, row) in rows {
        put!(out, "<tr><th>{}</th>", escape(kind));
        for class in &classes {
            out.push_str("<td>");
            let may = |cell: &&&Cell| cell.decision != Decision::Never;
            let all: Vec<&&Cell> = row.get(class).into_iter().flatten().filter(may).collect();
            if all.is_empty() {
                out.push_str("<span class=\"n\">never</span>");
            }
            for cell in all {
                let mark = if cell.decision == Decision::Autonomous { "a" } else { "p" };
                let after = match cell.approvals {
                    0 => String::new(),
                    n => format!(" ({n})"),
                };
                let action = escape(cell.action.name());
                let title = escape(&decision(cell));
                put!(out, "<span class=\"{mark}\" title=\"{title}\">{action}{after}</span>");
            }
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

/// The reasons, cells with the same ones together.
fn reasons(out: &mut String, cells: &[&Cell]) {
    type Same<'a> = (Decision, u8, &'a [String]);
    let mut same: Vec<(Same<'_>, Vec<&Cell>)> = Vec::new();
    let mut places: BTreeMap<Same<'_>, usize> = BTreeMap::new();
    for cell in cells {
        let key = (cell.decision, cell.approvals, cell.reasons.as_slice());
        let place = *places.entry(key).or_insert(same.len());
        match same.get_mut(place) {
            Some((_, all)) => all.push(cell),
            None => same.push((key, vec![cell])),
        }
    }
    same.sort_by_key(|((decision, approvals, _), _)| (*decision, *approvals));
    out.push_str(
        "<details><summary>reasons</summary>\n<table>\n<thead><tr><th>decision</th>\
                  <th>cells</th><th>reasons</th></tr></thead>\n<tbody>\n",
    );
    for ((_, _, reasons), all) in same {
        let Some(first) = all.first() else { continue };
        put!(out, "<tr><td>{}</td><td><ul>", escape(&decision(first)));
        for text in cells_told(&all) {
            put!(out, "<li>{}</li>", escape(&text));
        }
        out.push_str("</ul></td><td><ul>");
        for reason in reasons {
            put!(out, "<li>{}</li>", escape(reason));
        }
        out.push_str("</ul></td></tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</details>\n");
}

/// Cells as lines `kinds on classes: actions`.
fn cells_told(cells: &[&Cell]) -> Vec<String> {
    let mut by: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for cell in cells {
        by.entry((cell.kind.name(), cell.class)).or_default().push(cell.action.name());
    }
    let mut classes: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((kind, class), actions) in by {
        classes.entry((kind, actions)).or_default().push(class);
    }
    let mut kinds: BTreeMap<(Vec<&str>, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((kind, actions), classes) in classes {
        kinds.entry((classes, actions)).or_default().push(kind);
    }
    let told = kinds.into_iter().map(|((classes, actions), kinds)| {
        format!("{} on {}: {}", kinds.join(", "), classes.join(", "), actions.join(", "))
    });
    told.collect()
}
