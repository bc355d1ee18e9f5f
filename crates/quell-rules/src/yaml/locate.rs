//! Rules room: tells on which line of a YAML document a key stands, by indentation.
//! A help for people who read an error; it is right for block style and near for flow style.

/// The line, from 0 within the document, of the key that `path` leads to.
pub(super) fn line_of<S: AsRef<str>>(text: &str, path: &[S]) -> u32 {
    let lines: Vec<Line<'_>> = text.lines().map(Line::new).collect();
    let mut at = lines.iter().position(Line::has_content).unwrap_or(0);
    let mut block = 0..lines.len();
    for segment in path {
        let Some(found) = find(&lines, block.clone(), segment.as_ref()) else { break };
        at = found;
        block = children(&lines, found);
    }
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// One line without its list dashes: `column` is where its first word stands.
struct Line<'t> {
    dash: Option<usize>,
    column: usize,
    words: &'t str,
}

impl<'t> Line<'t> {
    fn new(line: &'t str) -> Self {
        let mut words = line.trim_start_matches(['\u{feff}', ' ']);
        let mut dash = None;
        if line.starts_with("---") {
            words = line.get(3..).unwrap_or_default().trim_start();
        }
        while let Some(rest) = words.strip_prefix("- ") {
            dash = dash.or(Some(line.len() - words.len()));
            words = rest.trim_start();
        }
        Self { dash, column: line.len() - words.len(), words: words.trim_end() }
    }

    fn has_content(&self) -> bool {
        !self.words.is_empty() && !self.words.starts_with('#')
    }

    /// The column that decides to which block the line belongs.
    fn indent(&self) -> usize {
        self.dash.unwrap_or(self.column)
    }

    fn starts_with_key(&self, key: &str) -> bool {
        let unquoted = self.words.trim_start_matches(['"', '\'']);
        let Some(rest) = unquoted.strip_prefix(key) else { return false };
        let rest = rest.trim_start_matches(['"', '\'']).trim_start();
        rest.is_empty() || rest.starts_with(':') || rest.starts_with('#')
    }
}

/// The lines that belong to the key on line `parent`, and that line itself.
fn children(lines: &[Line<'_>], parent: usize) -> std::ops::Range<usize> {
    let Some(head) = lines.get(parent) else { return 0..0 };
    let mut end = parent + 1;
    for (number, line) in lines.iter().enumerate().skip(parent + 1) {
        if line.has_content() {
            // a list may stand at the column of the key that owns it
            let inside = line.indent() > head.column
                || (line.dash == Some(head.column) && head.words.ends_with(':'));
            if !inside {
                break;
            }
        }
        end = number + 1;
    }
    parent..end
}

/// The first line of the block whose key or item is `segment`: at the block's own column first,
/// then anywhere in it.
fn find(lines: &[Line<'_>], block: std::ops::Range<usize>, segment: &str) -> Option<usize> {
    let within = || lines.iter().enumerate().skip(block.start).take(block.len());
    let own = within().filter(|(_, line)| line.has_content());
    let column = own.clone().skip(usize::from(block.start > 0)).map(|(_, line)| line.column).min();
    own.filter(|(_, line)| Some(line.column) == column && line.starts_with_key(segment))
        .chain(within().filter(|(_, line)| line.has_content() && line.words.contains(segment)))
        .map(|(number, _)| number)
        .next()
}
