//! Findings, the tier: what the signals can bear, whatever the rule asks for. Policy has no say
//! here.

use super::{Bench, Candidate};
use crate::action::Tier;
use crate::authority::reach_cap;
use crate::signal::Use;

impl<'a> Bench<'a> {
    /// The tier that is left, and why it is not the one asked for.
    ///
    /// The finding is looked at three times: without signals that were stopped, that may only
    /// join or that rest on a cold history; with the last, at most challenge; and with all, at
    /// most observe. Each time only those signals count that are part of a window then, and the
    /// greatest reach among them caps the tier. The best of the three stands.
    pub(super) fn tier(&self, cited: &[Candidate<'a>]) -> (Tier, Vec<String>) {
        let stopped = |c: &Candidate<'a>| c.kept.signal().usage == Use::Stop;
        let joined = |c: &Candidate<'a>| self.alone() && c.kept.signal().usage == Use::Join;
        let cold = |c: &Candidate<'a>| c.cold;
        let firm = self.bears(cited, |c| !stopped(c) && !joined(c) && !cold(c));
        let open = self.bears(cited, |c| !stopped(c) && !joined(c));
        let open = open.map(|tier| tier.min(Tier::Challenge));
        let best = firm.max(open).unwrap_or(Tier::Observe);
        let limits = [
            (self.bears(cited, |c| !stopped(c)).is_none(), "the vendor already stopped it"),
            (self.bears(cited, |c| !joined(c)).is_none(), "the signal may only join others"),
            (self.bears(cited, |c| !cold(c)).is_none(), "the sign-in history is cold"),
        ];
        let mut caps: Vec<String> = Vec::new();
        if best < self.asked {
            let held = limits.iter().filter(|(held, _)| *held).map(|(_, why)| *why);
            caps.extend(held.map(str::to_owned));
            match self.bears(cited, |_| true) {
                Some(Tier::Observe) | None => {
                    caps.push("an outsider alone can cause every cited signal".to_owned());
                }
                Some(Tier::Challenge) => {
                    let why = "no cited signal takes the person's credential, session or grant";
                    caps.push(why.to_owned());
                }
                Some(_) => {}
            }
            if caps.is_empty() {
                caps.push("only weaker signals of it hold together".to_owned());
            }
            caps.iter_mut().for_each(|why| why.push_str(&format!(": at most {best}")));
        }
        (self.asked.min(best), caps)
    }

    /// The cap by reach over the signals that are part of a window of these alone.
    fn bears(
        &self,
        cited: &[Candidate<'a>],
        keep: impl Fn(&Candidate<'a>) -> bool,
    ) -> Option<Tier> {
        let part: Vec<Candidate<'a>> = cited.iter().filter(|c| keep(c)).copied().collect();
        let within: Vec<usize> =
            if self.alone() { (0..part.len()).collect() } else { self.within(&part) };
        let kinds = within.into_iter().filter_map(|index| part.get(index));
        let kinds: Vec<_> = kinds.map(|c| (c.kept.signal().kind, false)).collect();
        (!kinds.is_empty()).then(|| reach_cap(kinds))
    }
}
