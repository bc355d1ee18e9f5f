//! Simulation room, people: they sign in, answer, freeze, take back and change what is written
//! down, well or badly.

use quell_core::action::Action;
use quell_core::effect::{Freeze, Input, Reply, TakeBack};
use quell_core::identity::{Account, Class};
use quell_core::order::{Order, State};
use quell_core::signal::Kind;
use quell_core::time::{HOUR, MINUTE};

use super::World;
use crate::company::{self, LAB};
use crate::process::Asker;

impl World {
    /// Somebody signs in somewhere, rightly or not.
    pub(super) fn sign_in(&mut self) {
        let accounts: Vec<Account> =
            self.company.people.iter().flat_map(|person| person.accounts.clone()).collect();
        if let Some(account) = self.rng.pick(&accounts) {
            self.providers.sign_in(account, self.now);
        }
    }

    /// Somebody does something about the engine.
    pub(super) fn person(&mut self) -> Result<(), String> {
        match self.rng.below(40) {
            0..=13 => self.answer(),
            14 | 15 => self.freeze(),
            16..=18 => self.take_back(),
            19..=21 => self.change_directory(),
            22 => self.change_policy(),
            23 => self.misuse(),
            24 | 25 => {
                let at = self.now.plus(self.rng.span(-HOUR, HOUR));
                self.meet(at)
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, input: &Input) -> Result<(), String> {
        self.note(|| format!("a person: {input:?}").chars().take(300).collect());
        self.process.iter_mut().try_for_each(|p| p.input(input.clone(), Asker::Person))
    }

    /// An order that the engine has and that fits.
    fn order(&mut self, fits: impl Fn(&Order) -> bool) -> Option<Order> {
        let engine = self.process.as_ref().and_then(|process| process.keeper.engine())?;
        let orders: Vec<&Order> = engine.orders().filter(|order| fits(order)).collect();
        self.rng.pick(&orders).map(|order| (*order).clone())
    }

    fn answer(&mut self) -> Result<(), String> {
        let Some(order) = self.order(|order| order.state == State::AwaitingApproval) else {
            return Ok(());
        };
        let by = match self.rng.below(8) {
            0 => match &order.on {
                quell_core::order::On::Account(account) => account.login.clone(),
                quell_core::order::On::Entity(_) => None,
            },
            1 => Some(company::login("human0")),
            _ => Some(company::login(&company::officer(self.rng.index(4)))),
        };
        let Some(by) = by else { return Ok(()) };
        let approve = self.rng.chance(850);
        self.stats.count(if approve { "people: approved" } else { "people: denied" });
        self.tell(&Input::Answer(Reply { order: order.id, by, approve, why: String::new() }))
    }

    pub(super) fn freeze(&mut self) -> Result<(), String> {
        let on = self.rng.chance(500);
        let until = self.rng.chance(700).then(|| self.now.plus(self.rng.span(MINUTE, 3 * HOUR)));
        self.stats.count("people: froze");
        let by = company::login(&company::officer(0));
        self.tell(&Input::Freeze(Freeze { on, until, by, why: "drill".to_owned() }))
    }

    fn take_back(&mut self) -> Result<(), String> {
        let done = [State::Verified, State::NotProvable, State::Partial, State::UndoFailed];
        let (any, watch) = (self.rng.chance(100), self.rng.chance(200));
        let fits = |order: &Order| {
            any || done.contains(&order.state) && watch == (order.action == Action::Watch)
        };
        let Some(order) = self.order(fits) else {
            return Ok(());
        };
        self.stats.count("people: took back");
        let by = company::login(&company::officer(1));
        let why = "it was an error".to_owned();
        self.tell(&Input::TakeBack(TakeBack { order: order.id, by, why }))
    }

    fn change_directory(&mut self) -> Result<(), String> {
        let place = self.rng.index(self.company.people.len());
        let what = self.rng.below(6);
        let Some(person) = self.company.people.get_mut(place) else { return Ok(()) };
        let key = person.key.clone();
        match what {
            0 => {
                person.classes.insert(Class::HighValue);
            }
            1 if key.starts_with("human") => {
                person.classes.insert(Class::BreakGlass);
            }
            2 if key != "glass" => {
                person.classes.remove(&Class::BreakGlass);
                person.classes.remove(&Class::HighValue);
            }
            3 if person.accounts.len() == 1 && !["glass", "kept"].contains(&key.as_str()) => {
                let id = format!("lab-{key}");
                person.accounts.push(Account { provider: LAB.to_owned(), id, login: None });
            }
            4 => {
                self.company.absent.insert(key.clone());
            }
            _ => self.company.absent.clear(),
        }
        self.stats.count("people: imported a directory");
        self.note(|| format!("a person: directory, {what} of {key}"));
        self.import()
    }

    fn change_policy(&mut self) -> Result<(), String> {
        // The shell takes errands between groups.
        if self.process.as_ref().is_none_or(crate::process::Process::can_release) {
            return Ok(());
        }
        self.company.strict = !self.company.strict;
        let self_strict = self.company.strict;
        let config = self.company.config()?;
        let configured = company::configured(&config);
        self.stats.count("people: changed the policy");
        self.note(|| format!("a person: policy, strict: {}", self_strict));
        let now = self.now;
        let result = self.process.as_mut().map(|p| p.configure(now, config, configured));
        self.committed(result)
    }

    /// Our credential acts at the provider, and it was not us.
    fn misuse(&mut self) -> Result<(), String> {
        if !self.rng.chance(200) {
            return Ok(());
        }
        let id = company::account_id("human2");
        let at = self.now;
        let mut teller = self.teller();
        let signal = teller.own(&id, Kind::SessionRevoked, at)?;
        let arrivals = teller.arrivals;
        self.arrivals.extend(arrivals);
        self.foreign.insert(signal.to_string());
        Ok(())
    }
}
