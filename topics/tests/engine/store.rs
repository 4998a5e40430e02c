//! A store in memory that is slow, away or silent as a test wants.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use updraft_topics::{
    Answer, Append, AppendedBatch, Bounds, Create, End, Epoch, Features, Limit, Log, Memory,
    Offset, Place, Read, Register, RegisterKey, Registers, Removal, Store, Swap, Swapped,
    TopicError, TopicName,
};

#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) memory: Memory,
    /// Nothing is answered.
    pub(crate) away: AtomicBool,
    /// Says that the store wakes readers, and does not.
    pub(crate) silent: bool,
    /// Reads take a permit before they answer, and wait for one if `gated`.
    pub(crate) gate: Semaphore,
    pub(crate) gated: AtomicBool,
    /// Reads that have looked and wait at the gate, or have passed it.
    pub(crate) reads: AtomicUsize,
    /// When something was asked, of the log or of the registers.
    pub(crate) asked: Mutex<Vec<Instant>>,
    /// Registers that were asked for, or found.
    pub(crate) registers: AtomicUsize,
    /// This record cannot be read.
    pub(crate) damaged: Option<Offset>,
    pub(crate) features: Features,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self::over(&Memory::new())
    }

    /// The way of one of several processes to this store.
    pub(crate) fn over(memory: &Memory) -> Self {
        let memory = memory.clone();
        Self {
            away: AtomicBool::new(false),
            silent: false,
            gate: Semaphore::new(0),
            gated: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            asked: Mutex::default(),
            registers: AtomicUsize::new(0),
            damaged: None,
            features: memory.features(),
            memory,
        }
    }

    pub(crate) fn store(self) -> (Arc<Self>, Store) {
        let log = Arc::new(self);
        let mut store = Store::from(log.memory.clone());
        store.log = log.clone();
        store.registers = log.clone();
        (log, store)
    }

    async fn answer<T>(&self, answer: Answer<'_, T>) -> Result<T, TopicError> {
        self.asked.lock().unwrap().push(Instant::now());
        if self.away.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        answer.await
    }
}

impl Log for Faulty {
    fn features(&self) -> Features {
        let mut features = self.features;
        features.announces = self.silent;
        features
    }

    fn open<'a>(&'a self, topic: &'a TopicName, create: Create) -> Answer<'a, Bounds> {
        Box::pin(self.answer(self.memory.open(topic, create)))
    }

    fn append<'a>(&'a self, topic: &'a TopicName, append: Append) -> Answer<'a, AppendedBatch> {
        Box::pin(self.answer(self.memory.append(topic, append)))
    }

    fn read<'a>(&'a self, topic: &'a TopicName, after: Place, limit: Limit) -> Answer<'a, Read> {
        Box::pin(async move {
            let mut read = self.answer(self.memory.read(topic, after, limit)).await?;
            if let (Read::Page(page), Some(damaged)) = (&mut read, self.damaged) {
                match page
                    .records
                    .iter()
                    .position(|record| record.offset == damaged)
                {
                    Some(0) => return Err(TopicError::Damaged { offset: damaged }),
                    Some(index) => {
                        page.records.truncate(index);
                        let last = &page.records[index - 1];
                        page.next = Place::new(page.bounds.epoch, last.offset, last.mark);
                    }
                    None => {}
                }
            }
            self.reads.fetch_add(1, Ordering::SeqCst);
            if self.gated.load(Ordering::SeqCst) {
                self.gate.acquire().await.unwrap().forget();
            }
            Ok(read)
        })
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, epoch: Epoch, up_to: Offset) -> Answer<'a, Bounds> {
        Box::pin(self.answer(self.memory.trim(topic, epoch, up_to)))
    }

    fn remove<'a>(&'a self, topic: &'a TopicName, removal: Removal) -> Answer<'a, ()> {
        Box::pin(self.answer(self.memory.remove(topic, removal)))
    }

    fn end<'a>(&'a self, topic: &'a TopicName, end: End) -> Answer<'a, ()> {
        Box::pin(self.answer(self.memory.end(topic, end)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a TopicName>,
        limit: usize,
    ) -> Answer<'a, Vec<TopicName>> {
        Box::pin(self.answer(self.memory.list(prefix, after, limit)))
    }
}

impl Registers for Faulty {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        self.registers.fetch_add(keys.len(), Ordering::SeqCst);
        Box::pin(self.answer(self.memory.get(keys)))
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(self.answer(self.memory.swap(swaps)))
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        Box::pin(async move {
            let scan = self.memory.scan(namespace, prefix, after, limit);
            let found = self.answer(scan).await?;
            self.registers.fetch_add(found.len(), Ordering::SeqCst);
            Ok(found)
        })
    }
}

/// Settings with which nothing takes long.
pub(crate) fn impatient() -> updraft_topics::Settings {
    let mut settings = updraft_topics::Settings::default();
    settings.deadline = Duration::from_millis(50);
    settings
}
