use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use updraft_topics::{Answer, Epoch, Memory, Register, RegisterKey, Store, TopicName};

use super::*;

/// What a store does with the next swaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapping {
    Works,
    Fails,
    /// They happen, and fail.
    LosesAnswers,
}

/// Registers in memory that fail on demand, and count how many were swapped at once.
#[derive(Debug)]
struct Faulty {
    registers: Arc<dyn Registers>,
    swapping: Mutex<Swapping>,
    swapped: Mutex<Vec<usize>>,
}

impl Registers for Faulty {
    fn get<'a>(&'a self, keys: &'a [RegisterKey]) -> Answer<'a, Vec<Option<Register>>> {
        self.registers.get(keys)
    }

    fn swap<'a>(&'a self, swaps: Vec<Swap>) -> Answer<'a, Vec<Swapped>> {
        Box::pin(async move {
            self.swapped.lock().unwrap().push(swaps.len());
            let swapping = *self.swapping.lock().unwrap();
            let outcome = match swapping {
                Swapping::Fails => return Err(TopicError::Unavailable(None)),
                _ => self.registers.swap(swaps).await,
            };
            match swapping {
                Swapping::LosesAnswers => Err(TopicError::Unavailable(None)),
                _ => outcome,
            }
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Vec<(RegisterKey, Register)>> {
        self.registers.scan(namespace, prefix, after, limit)
    }
}

struct World {
    cursors: Cursors,
    faulty: Arc<Faulty>,
    registers: Arc<dyn Registers>,
    topic: TopicName,
    epoch: Epoch,
}

impl World {
    fn new() -> Self {
        let faulty = Arc::new(Faulty {
            registers: Store::from(Memory::new()).registers,
            swapping: Mutex::new(Swapping::Works),
            swapped: Mutex::default(),
        });
        Self {
            cursors: Cursors::new(CursorSettings::default(), Handle::current()),
            registers: faulty.clone(),
            faulty,
            topic: TopicName::new("orders").unwrap(),
            epoch: Epoch::draw(),
        }
    }

    fn kept(&self, offset: Offset) -> Kept {
        Kept {
            position: Position::new(&self.topic, self.epoch, offset, 7),
            horizon: 0,
        }
    }

    fn key(number: usize) -> CursorKey {
        CursorKey(RegisterKey::new("cursors", &format!("orders {number}")).unwrap())
    }

    async fn open(&self, number: usize) -> Cursor {
        let key = Self::key(number);
        let found = self.cursors.find(&self.registers, &key).await.unwrap();
        let kept = found.kept.unwrap_or_else(|| self.kept(1));
        self.cursors.open(found, kept).await.unwrap().unwrap()
    }

    async fn register(&self, number: usize) -> Option<Register> {
        let key = Self::key(number).0;
        self.faulty.get(&[key]).await.unwrap().remove(0)
    }

    /// What the register has, once everything is done that is done within this time.
    async fn stored(&self, number: usize, after: Duration) -> Option<Offset> {
        tokio::time::sleep(after).await;
        let register = self.register(number).await?;
        Kept::read(&register.value).map(|(_, kept)| kept.position.offset())
    }

    fn swapping(&self, swapping: Swapping) {
        *self.faulty.swapping.lock().unwrap() = swapping;
    }
}

const SOON: Duration = Duration::from_millis(1);
const WRITTEN: Duration = Duration::from_millis(1100);

#[tokio::test(start_paused = true)]
async fn topic_032_moves_are_written_together_once_a_second_and_at_the_end() {
    let world = World::new();
    let mut cursors = Vec::new();
    for number in 0..600 {
        cursors.push(world.open(number).await);
    }
    tokio::time::sleep(WRITTEN).await;
    world.faulty.swapped.lock().unwrap().clear();
    cursors.iter().for_each(|it| it.keep(world.kept(2)));
    assert_eq!(world.stored(599, SOON).await, Some(2));
    cursors.iter().for_each(|it| it.keep(world.kept(3)));
    assert_eq!(world.stored(0, WRITTEN / 2).await, Some(2));
    assert_eq!(world.stored(0, WRITTEN / 2).await, Some(3));
    // One call for all of them, as far as one does not hold up others for long.
    assert_eq!(*world.faulty.swapped.lock().unwrap(), [512, 88, 512, 88]);
    cursors[0].keep(world.kept(4));
    drop(cursors.remove(0));
    assert_eq!(world.stored(0, SOON).await, Some(4));
}

#[tokio::test(start_paused = true)]
async fn topic_032_a_swap_of_unknown_outcome_is_found_out() {
    for swapping in [Swapping::Fails, Swapping::LosesAnswers] {
        let world = World::new();
        let cursor = world.open(0).await;
        world.swapping(swapping);
        cursor.keep(world.kept(2));
        tokio::time::sleep(3 * WRITTEN).await;
        cursor.keep(world.kept(3));
        world.swapping(Swapping::Works);
        assert_eq!(world.stored(0, WRITTEN).await, Some(3));
        cursor.keep(world.kept(4));
        assert_eq!(world.stored(0, WRITTEN).await, Some(4));
    }
}

#[tokio::test(start_paused = true)]
async fn topic_032_who_has_had_a_cursor_before_writes_it_no_more() {
    let world = World::new();
    let former = world.open(0).await;
    former.keep(world.kept(5));
    // What is not written yet is known in this process.
    let latter = world.open(0).await;
    assert_eq!(latter.kept(), world.kept(5));
    former.keep(world.kept(9));
    latter.keep(world.kept(6));
    assert_eq!(world.stored(0, 2 * WRITTEN).await, Some(6));
    // Nor after an outage in which it was taken over.
    world.swapping(Swapping::Fails);
    latter.keep(world.kept(7));
    tokio::time::sleep(WRITTEN).await;
    world.swapping(Swapping::Works);
    let last = world.open(0).await;
    drop(latter);
    drop(former);
    assert_eq!(world.stored(0, 2 * WRITTEN).await, Some(7));
    drop(last);
}

#[tokio::test(start_paused = true)]
async fn topic_032_what_has_vanished_or_is_damaged_is_written_anew() {
    let world = World::new();
    let cursor = world.open(0).await;
    let remove = Swap::remove(
        World::key(0).0,
        world.register(0).await.map(|register| register.version),
    );
    world.faulty.swap(vec![remove]).await.unwrap();
    cursor.keep(world.kept(2));
    assert_eq!(world.stored(0, 2 * WRITTEN).await, Some(2));
    drop(cursor);
    tokio::time::sleep(WRITTEN).await;
    let version = world.register(0).await.map(|register| register.version);
    let damaged = Swap::write(World::key(0).0, version, Bytes::from_static(b"7 x")).unwrap();
    world.faulty.swap(vec![damaged]).await.unwrap();
    let cursor = world.open(0).await;
    assert_eq!(cursor.kept(), world.kept(1));
    assert_eq!(world.stored(0, SOON).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn topic_032_a_cursor_at_rest_is_written_again_before_it_expires() {
    let world = World::new();
    let cursor = world.open(0).await;
    let before = world.register(0).await.unwrap();
    let expires = CursorSettings::default().expires;
    tokio::time::sleep(expires / 2).await;
    let after = world.register(0).await.unwrap();
    assert_eq!(before.value, after.value);
    assert_ne!(before.version, after.version);
    drop(cursor);
    world.cursors.close().await;
    // What is written at the end is the last.
    let last = world.register(0).await.unwrap();
    assert_ne!(last.version, after.version);
    tokio::time::sleep(expires).await;
    assert_eq!(world.register(0).await.unwrap().version, last.version);
}
