//! Run room, keeper: the engine and its store as one thing. A group of inputs is appended,
//! stepped and committed in one transaction; nothing leaves before. Knows no clock, thread or
//! socket, so that the simulation drives it as the binary does.

mod effects;
mod erase;

use quell_core::effect::{CallId, Configured, Input, Intake, Notice};
use quell_core::engine::{BadState, Config, Engine};
use quell_core::id::Digest;
use quell_core::order::Call;
use quell_core::replay::{self, Unreadable};
use quell_core::time::Time;
use quell_store::frame::Content;
use quell_store::views::{Frames, StateRows, StoredCheckpoint};
use quell_store::{
    Body, CheckpointSigner, Commit, CommitError, Effects, Frame, LeaseError, ReadError,
    SequenceError, Store, WriteError,
};

use effects::take;

/// Opens the store, for the first time and again: once the one before was dropped. Gives a sentence
/// for people when it cannot be opened.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Store>, String> + Send>;

/// One input on its way, with its frame's body made beforehand on any core.
#[derive(Debug)]
pub struct Submission {
    /// The input; the records of an intake are in the body alone.
    pub input: Input,
    /// The frame's kind.
    pub kind: u16,
    /// The frame's body.
    pub body: Body,
    /// The pack that decoded it.
    pub pack: Digest,
    /// The poll cursor that belongs to the page.
    pub cursor: Option<(String, Vec<u8>)>,
}

/// A submission that is too long for one frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the input is too long for the journal: {0}")]
pub struct TooLong(String);

impl Submission {
    /// Encodes and compresses an input.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn new(mut input: Input, pack: Digest) -> Result<Self, TooLong> {
        let (kind, bytes) = replay::encode(&input);
        let body = Body::pack(&bytes).map_err(|e| TooLong(e.to_string()))?;
        if let Input::Signals(intake) = &mut input {
            intake.raw = Vec::new();
        }
        Ok(Self { input, kind, body, pack, cursor: None })
    }

    /// The same with the cursor of its page.
    #[must_use]
    pub fn with_cursor(mut self, source: &str, cursor: Vec<u8>) -> Self {
        self.cursor = Some((source.to_owned(), cursor));
        self
    }
}

/// What came of one submission, once it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// When it counts as appended.
    pub at: Time,
    /// Its number in the journal.
    pub seq: u64,
    /// A claim: dispatch may send.
    pub may_send: bool,
    /// A claim: a freeze that comes before it is sent stops it.
    pub heeds_freeze: bool,
    /// An answer or a wish to take an order back: why it did not count.
    pub refused: Option<String>,
}

/// What a committed group lets out.
#[derive(Debug, Default)]
pub struct Outputs {
    /// One for each submission, in order.
    pub receipts: Vec<Receipt>,
    /// Calls to carry out.
    pub calls: Vec<Call>,
    /// Calls that are over or no longer wanted.
    pub dones: Vec<CallId>,
    /// Pages to people.
    pub notices: Vec<Notice>,
    /// When the engine wants a tick.
    pub wake_at: Option<Time>,
    /// A freeze is in force.
    pub frozen: bool,
    /// The whole outbox, after the engine was loaded again: it stands for everything that dispatch
    /// was told before, calls and dones of this group among it.
    pub outbox: Option<Vec<Call>>,
}

/// Why the keeper cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store does not commit.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The lease was not taken.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A state row is damaged.
    #[error(transparent)]
    State(#[from] BadState),
    /// A frame is damaged.
    #[error(transparent)]
    Frame(#[from] Unreadable),
    /// A record that has no canonical form: a fault of the program, nothing was committed.
    #[error("a `{kind}` record has no canonical form: {cause}")]
    Record {
        /// The record's type.
        kind: &'static str,
        /// Why.
        cause: String,
    },
    /// The engine is ahead of the store and could not be loaded again.
    #[error("the engine was dropped after a failed commit and is not loaded yet")]
    Dropped,
    /// The store does not open.
    #[error("the store cannot be opened: {0}")]
    Open(String),
}

impl KeepError {
    /// True when trying again in this process would not help: it must end and say why, so that
    /// whoever watches over it starts another.
    pub fn is_final(&self) -> bool {
        let gone = |error: &WriteError| {
            use WriteError as W;
            matches!(error, W::Fenced { .. } | W::NoLease(_) | W::Damaged(_))
        };
        match self {
            Self::Open(_) | Self::State(_) | Self::Frame(_) => true,
            Self::Read(error) => matches!(error, ReadError::Damaged(_) | ReadError::Sealed { .. }),
            Self::Commit(CommitError::Write(error)) | Self::Lease(LeaseError::Write(error)) => {
                gone(error)
            }
            Self::Commit(_) | Self::Lease(_) | Self::Record { .. } | Self::Dropped => false,
        }
    }
}

/// The engine with its store.
pub struct Keeper {
    /// None while it must be opened again.
    store: Option<Box<dyn Store>>,
    open: Opener,
    config: Config,
    configured: Configured,
    holder: String,
    epoch: u64,
    engine: Option<Engine>,
    restarted: bool,
    /// The engine was loaded again, and dispatch does not know the outbox of now.
    owes_outbox: bool,
    /// Somebody is being forgotten.
    erasing: bool,
    /// Bytes that were erased may be left in the log.
    purging: bool,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Opens the store, takes the lease and loads the engine: state rows as they are, timelines
    /// folded from the journal within retention.
    ///
    /// # Errors
    /// [`KeepError`]; nothing was written but the lease.
    ///
    /// *Crash*: as before.
    pub fn open(
        open: Opener,
        config: Config,
        configured: Configured,
        holder: &str,
        now: Time,
    ) -> Result<Self, KeepError> {
        let mut keeper = Self {
            store: None,
            open,
            config,
            configured,
            holder: holder.to_owned(),
            epoch: 0,
            engine: None,
            restarted: false,
            owes_outbox: false,
            erasing: false,
            purging: false,
        };
        keeper.load(now)?;
        Ok(keeper)
    }

    /// The store; opened, with its lease, where an earlier write ended unsure. One that does not
    /// give the lease is dropped again.
    fn store(&mut self) -> Result<&mut dyn Store, KeepError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => {
                let mut store = (self.open)().map_err(KeepError::Open)?;
                self.epoch = store.acquire(&self.config.tenant, &self.holder)?;
                // Whoever died between an erasure and its purge has left this to us.
                self.purging = true;
                store
            }
        };
        Ok(self.store.insert(store).as_mut())
    }

    /// After an unsure write only a store that is opened again knows what is true: this one is
    /// dropped, with its lock, and so is the engine.
    fn drop_unsure(&mut self, error: &WriteError) {
        if matches!(error, WriteError::Unsure(_) | WriteError::Halted) {
            self.store = None;
            self.engine = None;
        }
    }

    /// Loads the engine again from what is committed.
    fn load(&mut self, now: Time) -> Result<(), KeepError> {
        let views = self.store()?.views()?;
        let tenant = self.config.tenant.as_str();
        let mut rows: Vec<(&str, String, Vec<u8>)> = Vec::new();
        for table in ["directory", "finding", "case", "order", "budget", "freeze"] {
            for row in StateRows::new(views.as_ref(), tenant, table) {
                let (key, value) = row?;
                rows.push((table, key, value));
            }
        }
        let mut after: Option<(String, String)> = None;
        loop {
            let from = after.as_ref().map(|(kind, value)| (kind.as_str(), value.as_str()));
            let page = views.watch(tenant, Time(i64::MIN), from, 1000)?;
            let Some(last) = page.last() else { break };
            after = Some((last.kind.clone(), last.value.clone()));
            rows.extend(page.into_iter().map(|entry| ("watch", entry.value, entry.body)));
        }
        let rows = rows.iter().map(|(t, k, v)| (*t, k.as_str(), v.as_slice()));
        let mut engine = Engine::load(self.config.clone(), rows)?;
        let from = engine.fold_from(now);
        let mut erasures = erase::Erasures::load(views.as_ref(), tenant)?;
        for frame in Frames::new(views.as_ref(), tenant, 0) {
            let frame = frame?;
            let Content::Kept(body) = frame.content else { continue };
            if frame.kind == replay::kind::ERASE {
                erasures.pass(frame.at, &body)?;
            }
            if frame.at < from || frame.kind != replay::kind::SIGNALS {
                continue;
            }
            // What is to be erased counts as erased from the ask on.
            let Some(body) = erasures.rest(frame.kind, body)? else { continue };
            if let Input::Signals(intake) = replay::decode(frame.kind, &body)? {
                engine.fold(frame.at, &intake);
            }
        }
        self.erasing = erasures.are_pending();
        // Time goes on from the last frame of any kind, whatever the clock says by now.
        if let Some(last) = views.head(tenant)?.last_at {
            engine.fold(last, &Intake::default());
        }
        self.engine = Some(engine);
        self.restarted = false;
        Ok(())
    }

    /// The inputs that a loaded engine must hear first.
    fn first_inputs(&self) -> Vec<Input> {
        vec![Input::Configured(self.configured.clone()), Input::Restarted]
    }

    /// Appends, steps and commits a group. After an error nothing has happened, or it is not
    /// known; the engine is dropped and loaded again at the next call, from a store that is opened
    /// again where it is not known.
    ///
    /// # Errors
    /// [`KeepError`]; see [`KeepError::is_final`].
    ///
    /// *Crash*: the group is there as a whole or not at all.
    pub fn commit(&mut self, now: Time, group: Vec<Submission>) -> Result<Outputs, KeepError> {
        if self.engine.is_none() {
            self.load(now)?;
            self.owes_outbox = true;
        }
        let result = self.try_commit(now, group);
        if let Err(error) = &result {
            self.engine = None;
            if let KeepError::Commit(CommitError::Write(error)) = error {
                self.drop_unsure(error);
            }
        }
        let mut outputs = result?;
        if self.owes_outbox {
            // Where it cannot be read now, the next group brings it.
            outputs.outbox = self.outbox().ok();
            self.owes_outbox = outputs.outbox.is_none();
        }
        Ok(outputs)
    }

    fn try_commit(&mut self, now: Time, group: Vec<Submission>) -> Result<Outputs, KeepError> {
        let first = if self.restarted { Vec::new() } else { self.first_inputs() };
        let store = self.store.as_mut().ok_or(KeepError::Dropped)?;
        let engine = self.engine.as_mut().ok_or(KeepError::Dropped)?;
        let at = now.max(engine.at());
        let mut commit = Commit {
            tenant: self.config.tenant.clone(),
            epoch: self.epoch,
            frames: Vec::new(),
            effects: Effects::default(),
        };
        let mut outputs = Outputs::default();
        let rules = self.config.rules.digest;
        let mut erases = false;
        for input in &first {
            let none = Digest([0; 32]);
            let made = Submission::new(input.clone(), none);
            let made =
                made.map_err(|e| KeepError::Record { kind: "configured", cause: e.to_string() })?;
            let frame = Frame {
                kind: made.kind,
                at,
                pack_digest: none,
                rules_digest: none,
                body: made.body,
            };
            commit.frames.push(frame);
            take(engine.step(at, input), at, &mut commit.effects, &mut outputs)?;
        }
        for submission in group {
            let Submission { input, kind, body, pack, cursor } = submission;
            let refused = match &input {
                Input::Answer(reply) => engine.unfit(reply),
                Input::TakeBack(back) => engine.unfit_undo(back),
                Input::Close(closing) => engine.unfit_to_close(closing),
                Input::Erase(erase) => engine.unfit_erase(erase),
                _ => None,
            };
            erases |= matches!(&input, Input::Erase(_)) && refused.is_none();
            // Of two claims of one call only the first is granted.
            let claimed = matches!(&input, Input::Claim(call) if engine.may_send(*call));
            commit.frames.push(Frame { kind, at, pack_digest: pack, rules_digest: rules, body });
            commit.effects.cursors.extend(cursor);
            take(engine.step(at, &input), at, &mut commit.effects, &mut outputs)?;
            let granted = matches!(&input, Input::Claim(call) if engine.may_send(*call));
            let may_send = granted && !claimed;
            let heeds_freeze = matches!(&input, Input::Claim(call) if engine.heeds_freeze(*call));
            outputs.receipts.push(Receipt { at, seq: 0, may_send, heeds_freeze, refused });
        }
        outputs.wake_at = engine.wake_at();
        outputs.frozen = engine.freeze().is_some();
        let committed = store.commit(&commit)?;
        let skip = u64::try_from(first.len()).unwrap_or_default();
        for (n, receipt) in
            (committed.journal_seq.saturating_add(skip)..).zip(&mut outputs.receipts)
        {
            receipt.seq = n;
        }
        self.restarted = true;
        self.erasing |= erases;
        Ok(outputs)
    }

    /// The calls that are in the outbox.
    ///
    /// # Errors
    /// [`KeepError::Read`], and [`KeepError::Dropped`] while the store is not open.
    pub fn outbox(&self) -> Result<Vec<Call>, KeepError> {
        let store = self.store.as_ref().ok_or(KeepError::Dropped)?;
        let rows = store.views()?.outbox(&self.config.tenant, 1_000_000)?;
        Ok(rows.into_iter().map(|row| row.call).collect())
    }

    /// Puts another configuration in force with the next group.
    pub fn configure(&mut self, config: Config, configured: Configured) {
        if let Some(engine) = &mut self.engine {
            engine.configure(config.clone());
        }
        self.config = config;
        self.configured = configured;
    }

    /// The engine, while it is loaded.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Signs a checkpoint over everything that is committed. While the store waits to be opened
    /// again nothing is signed: the next group opens it.
    ///
    /// # Errors
    /// [`SequenceError`].
    ///
    /// *Crash*: the checkpoint is stored or not; a later one covers the same records.
    pub fn checkpoint(
        &mut self,
        now: Time,
        signer: &dyn CheckpointSigner,
    ) -> Result<StoredCheckpoint, SequenceError> {
        let store = self.store.as_mut().ok_or(SequenceError::Write(WriteError::Halted))?;
        let signed = store.checkpoint(&self.config.tenant, self.epoch, now, signer);
        if let Err(SequenceError::Write(error)) = &signed {
            self.drop_unsure(error);
        }
        signed
    }

    /// False while the store waits to be opened again by the next group.
    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// Notices that were delivered or given up, and those that are due again later.
    ///
    /// # Errors
    /// [`KeepError::Commit`].
    ///
    /// *Crash*: they are delivered once more; the receiver knows them by their id.
    pub fn notices_tried(
        &mut self,
        done: Vec<String>,
        later: Vec<quell_store::Notice>,
    ) -> Result<(), KeepError> {
        let effects = Effects { notice_dones: done, notice_puts: later, ..Effects::default() };
        let tenant = self.config.tenant.clone();
        let commit = Commit { tenant, epoch: self.epoch, frames: Vec::new(), effects };
        let store = self.store.as_mut().ok_or(KeepError::Dropped)?;
        let written = store.commit(&commit);
        if let Err(CommitError::Write(error)) = &written {
            self.drop_unsure(error);
        }
        written?;
        Ok(())
    }
}
