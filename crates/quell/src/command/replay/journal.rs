//! `quell replay --store`: the journal of the configured store once more, by the configuration of
//! now. Sends nothing, keeps nothing, and says what of the journal is erased.

use quell_core::effect::Input;
use quell_core::engine::Engine;
use quell_core::erase::{Erased, erased_part};
use quell_core::replay;
use quell_store::frame::Content;
use quell_store::views::Frames;
use serde_json::json;

use super::print;
use crate::assemble::Brain;
use crate::command::say_json;
use crate::config::Place;
use crate::fault::Fault;
use crate::start;

/// Steps an engine through the journal and prints what is in force at its end; the last line says
/// what is erased, where anything is.
pub(super) fn replay(brain: &Brain, place: &Place) -> Result<(), Fault> {
    let views = start::read_configured(place)?;
    let tenant = &place.settings.tenant;
    let mut engine = Engine::new(brain.config(tenant, Default::default()));
    let (mut erased, mut gone, mut unread) = (Erased::default(), 0_u64, 0_u64);
    for frame in Frames::new(&views, tenant, 0) {
        let frame = frame.map_err(|e| Fault::store(&e))?;
        let Content::Kept(body) = &frame.content else {
            erased.frames.add(frame.seq);
            continue;
        };
        let part = erased_part(frame.kind, body);
        if part > 0 {
            erased.parts.add(frame.seq);
            gone = gone.saturating_add(part);
        }
        match replay::decode(frame.kind, body) {
            // The policy of now decides, whatever was configured then.
            Ok(Input::Configured(_)) => {}
            Ok(input) => drop(engine.step(frame.at, &input)),
            Err(_) => unread = unread.saturating_add(1),
        }
    }
    print(&engine)?;
    if erased.frames.count > 0 || erased.parts.count > 0 {
        say_json(&json!({
            "type": "erased", "frames": erased.frames, "parts": erased.parts, "gone_in_parts": gone,
        }))?;
    }
    if unread > 0 {
        say_json(&json!({ "type": "unread", "frames": unread }))?;
    }
    Ok(())
}
