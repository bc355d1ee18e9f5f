//! The states of orders: the whole matrix, and what follows from every answer, as snapshots.

use expect_test::expect_file;
use quell_core::action::Action;
use quell_core::id::{CaseId, FindingId, OrderId};
use quell_core::order::{Answer, Event, Fault, On, Order, Repeat, State, Verb};
use quell_core::progress;
use quell_core::signal::{Entity, EntityKind};
use quell_core::time::{HOUR, SECOND, Time};

use super::company::{T0, capability};

/// One row for each state: what is possible and where it leads; everything else is refused.
#[test]
fn the_matrix_of_states() {
    let mut out = String::new();
    for state in State::ALL {
        out.push_str(&format!("{state}"));
        if state.is_final() {
            out.push_str(" (final)");
        }
        if !state.stands() {
            out.push_str(" (may be ordered again)");
        }
        out.push('\n');
        for event in Event::ALL {
            match state.next(*event) {
                Ok(next) => out.push_str(&format!("  {event} -> {next}\n")),
                Err(illegal) => {
                    assert_eq!((illegal.state, illegal.event), (*state, *event));
                }
            }
        }
    }
    expect_file!["snapshots/states.txt"].assert_eq(&out);
}

/// The text of a refused event is told to people.
#[test]
fn a_refused_event_says_what_it_was() {
    let refused = State::Denied.next(Event::Permit).unwrap_err();
    assert_eq!(refused.to_string(), "`permit` is not possible for an order that is `denied`");
}

fn answers() -> Vec<(String, Answer)> {
    let mut all = Vec::new();
    for alive in [false, true] {
        for already in [false, true] {
            let name = format!("before(alive={alive}, already={already})");
            all.push((name, Answer::Before { alive, already, snapshot: None }));
        }
    }
    for already in [false, true] {
        all.push((format!("accepted(already={already})"), Answer::Accepted { already }));
    }
    for done in [false, true] {
        for conclusive in [false, true] {
            let name = format!("seen(done={done}, conclusive={conclusive})");
            all.push((name, Answer::Seen { done, conclusive }));
        }
    }
    for fault in Fault::ALL {
        all.push((fault.to_string(), Answer::Fault { fault: *fault, retry_at: None }));
    }
    all
}

fn order(repeated: u32, control: Option<bool>) -> Order {
    let on = On::Entity(Entity { kind: EntityKind::Ip, value: "192.0.2.1".to_owned() });
    let at = Time(T0);
    let mut order = Order::planned(OrderId([1; 16]), CaseId([2; 16]), Action::EndSessions, on, at);
    order.findings = vec![FindingId([3; 16])];
    order.attempts = [repeated; 5];
    order.accepted = [0, 1, 0, 1, 0];
    order.sent_at = Some(at);
    order.control = control;
    order
}

/// For every verb and answer what follows, by repeat class and whether there is a read-back, for
/// a first attempt and after all patience. `!` pages people.
#[test]
fn what_follows_from_every_answer() {
    let mut out = String::new();
    let phases = [("first", 1, SECOND), ("last", progress::TRIES_MAX, HOUR)];
    for verb in Verb::ALL {
        for (phase, attempts, after) in phases {
            for (name, answer) in answers() {
                let mut cells: Vec<(String, Vec<String>)> = Vec::new();
                for repeat in Repeat::ALL {
                    for reads_back in [false, true] {
                        let capability = capability(Action::EndSessions, *repeat, reads_back);
                        for control in [true, false] {
                            let order = order(attempts, Some(control));
                            let at = Time(T0 + after);
                            let next = progress::next(&order, capability, *verb, &answer, at, at);
                            let event = next.event.map_or("stays".to_owned(), |e| e.to_string());
                            let call = next.call.map_or(String::new(), |(verb, due)| {
                                assert!(due >= at, "a call is never due in the past");
                                format!(" then {verb}")
                            });
                            let page = if next.page { " !" } else { "" };
                            let text = format!("{event}{call}{page}");
                            let reads = if reads_back { "reads" } else { "blind" };
                            let seen = if control { "control" } else { "no control" };
                            let column = format!("{repeat}/{reads}/{seen}");
                            match cells.iter_mut().find(|(cell, _)| *cell == text) {
                                Some((_, columns)) => columns.push(column),
                                None => cells.push((text, vec![column])),
                            }
                        }
                    }
                }
                out.push_str(&format!("{verb} {phase} {name}\n"));
                match cells.as_slice() {
                    [(text, _)] => out.push_str(&format!("  {text}\n")),
                    several => {
                        for (text, columns) in several {
                            let columns = columns.join(" ");
                            out.push_str(&format!("  {text}: {columns}\n"));
                        }
                    }
                }
            }
        }
    }
    expect_file!["snapshots/answers.txt"].assert_eq(&out);
}

/// What is so already after an earlier call went unanswered may be that call's work: it counts as
/// done by us, so that its time to live and its undo hold.
#[test]
fn what_an_unanswered_call_did_is_ours() {
    let capability = capability(Action::Suspend, Repeat::Safe, true);
    let already = Answer::Accepted { already: true };
    let before = Answer::Before { alive: false, already: true, snapshot: None };
    let say = |order: &Order, verb, answer| {
        let next = progress::next(order, capability, verb, answer, Time(T0), Time(T0));
        (next.event, next.call.map(|(verb, _)| verb))
    };
    let mut order = order(2, Some(true));
    assert_eq!(say(&order, Verb::Execute, &already), (Some(Event::FindUnchanged), None));
    assert_eq!(say(&order, Verb::Probe, &before), (Some(Event::FindUnchanged), None));
    order.unsure = true;
    let looks = Some(Verb::ReadBack);
    assert_eq!(say(&order, Verb::Execute, &already), (Some(Event::Acknowledge), looks));
    assert_eq!(say(&order, Verb::Probe, &before), (Some(Event::LoseSight), looks));
}

/// What `never` may not do, whatever comes: no answer to the effecting call or to a look leads to
/// another effecting call, unless the target says that nothing happened.
#[test]
fn never_is_never_sent_again() {
    let mut tried = 0;
    for (name, answer) in answers() {
        for reads_back in [false, true] {
            for attempts in 1..=progress::TRIES_MAX {
                let capability = capability(Action::EndSessions, Repeat::Never, reads_back);
                for verb in [Verb::Execute, Verb::ReadBack] {
                    let order = order(attempts, Some(true));
                    let at = Time(T0 + HOUR);
                    let next = progress::next(&order, capability, verb, &answer, at, at);
                    let again = next.call.is_some_and(|(verb, _)| verb == Verb::Execute);
                    let nothing = matches!(
                        answer,
                        Answer::Fault { fault: Fault::Throttled | Fault::Transient, .. }
                    );
                    assert!(!again || nothing, "{verb} {name}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1_000);
}
