//! What the clients of a round do, each until the round is over. Those that read must miss nothing,
//! whatever they do besides; what else each may expect is said here too.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::garbage::{self, After};
use crate::session::Session;
use crate::socket::{Pace, Socket, TEXT, frame};
use crate::world::{PATIENCE, World};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Subscribes to every room, so that none is empty, and reads.
    Omnivore,
    /// Subscribes and reads.
    Listener,
    /// Subscribes and reads slowly, but fast enough.
    Slow,
    /// Subscribes and gives up, over and over.
    Churner,
    /// Subscribes to much and reads nothing.
    Deaf,
    /// Vanishes with a reset, at any point, and comes back.
    Resetter,
    /// Says that it has sent everything, while it still listens.
    HalfCloser,
    /// Sends what makes no sense.
    Babbler,
}

/// What a client has to say at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// The most that one of its subscriptions was told of gaps.
    pub(crate) gaps: usize,
    /// How many connections it had.
    pub(crate) connections: usize,
}

impl Actor {
    /// One in a hundred is deaf, one resets, one babbles, one closes by half; a few are slow or
    /// change their mind.
    pub(crate) fn of(number: usize) -> Self {
        match number % 100 {
            0 => Self::Omnivore,
            10 => Self::Deaf,
            20 => Self::Resetter,
            30 => Self::Babbler,
            40 => Self::HalfCloser,
            50..52 => Self::Slow,
            60..65 => Self::Churner,
            _ => Self::Listener,
        }
    }

    pub(crate) async fn act(self, mut world: World, mut rng: Rng) -> Result<Report, String> {
        // Not all at once.
        sleep(Duration::from_millis(rng.u64(..500))).await;
        match self {
            Self::Omnivore => {
                let mut session = Session::connect(&world, rng.fork(), Pace::FAST).await?;
                session.subscribe_all().await?;
                listen(session, rng).await
            }
            Self::Listener => listen(begin(&world, &mut rng, Pace::FAST).await?, rng).await,
            Self::Slow => listen(begin(&world, &mut rng, Pace::SLOW).await?, rng).await,
            Self::Churner => churn(&mut world, rng).await,
            Self::Deaf => repeat(world, rng, ignore_everything).await,
            Self::Resetter => repeat(world, rng, vanish).await,
            Self::HalfCloser => repeat(world, rng, close_by_half).await,
            Self::Babbler => repeat(world, rng, babble).await,
        }
    }
}

/// Does something with one connection after the other.
async fn repeat(
    world: World,
    mut rng: Rng,
    act: impl AsyncFn(&mut World, Rng) -> Result<(), String>,
) -> Result<Report, String> {
    let mut report = Report::default();
    let mut world = world;
    while !world.is_over() {
        report.connections += 1;
        act(&mut world, rng.fork()).await?;
    }
    Ok(report)
}

/// A session with a few subscriptions, none of them answered yet.
async fn begin(world: &World, rng: &mut Rng, pace: Pace) -> Result<Session, String> {
    let mut session = Session::connect(world, rng.fork(), pace).await?;
    session.subscribe_some().await?;
    Ok(session)
}

async fn listen(mut session: Session, mut rng: Rng) -> Result<Report, String> {
    session.listen().await?;
    session.complete().await?;
    let gaps = session.gaps();
    match rng.u8(..3) {
        0 => session.into_socket().reset(),
        1 => session.unsubscribe_all().await?,
        _ => drop(session),
    }
    Ok(Report {
        gaps,
        connections: 1,
    })
}

async fn churn(world: &mut World, mut rng: Rng) -> Result<Report, String> {
    let mut session = Session::connect(world, rng.fork(), Pace::FAST).await?;
    while !world.is_over() {
        for _ in 0..rng.usize(1..4) {
            if rng.bool() {
                session.subscribe_some().await?;
            } else {
                session.unsubscribe_one().await?;
            }
        }
        session
            .listen_for(Duration::from_millis(rng.u64(..100)))
            .await?;
        // Those that are left are few enough to keep up with.
        while session.live() > 6 {
            session.unsubscribe_one().await?;
        }
    }
    session.complete().await?;
    Ok(Report {
        gaps: session.gaps(),
        connections: 1,
    })
}

/// Reads nothing for some time, or until it is reset. What then still comes is in order, and its
/// end says why.
async fn ignore_everything(world: &mut World, mut rng: Rng) -> Result<(), String> {
    let pace = Pace {
        buffer: Some(4096),
        ..Pace::FAST
    };
    let mut session = Session::connect(world, rng.fork(), pace).await?;
    session.subscribe_all().await?;
    for _ in 0..rng.u32(50..120) {
        if session.socket().is_reset() || world.is_over() {
            break;
        }
        world.pass(Duration::from_millis(100)).await;
    }
    // If the round was over before the server had enough, it does not end.
    match session.listen_for(Duration::from_secs(1)).await? {
        None | Some(None | Some(1013)) => Ok(()),
        Some(Some(code)) => Err(format!("closed with {code} for not reading")),
    }
}

/// Works for a moment, and is gone: in silence, in the middle of a frame, or with a request just
/// sent.
async fn vanish(world: &mut World, mut rng: Rng) -> Result<(), String> {
    let mut session = begin(world, &mut rng, Pace::FAST).await?;
    session
        .listen_for(Duration::from_millis(rng.u64(..500)))
        .await?;
    match rng.u8(..3) {
        0 => {
            let half = frame(TEXT, br#"{"msg":"ping"}"#);
            // The server may have had enough by now.
            drop(
                session
                    .socket()
                    .send(&half[..rng.usize(..half.len())])
                    .await,
            );
        }
        1 => session.subscribe_some().await?,
        _ => {}
    }
    session.into_socket().reset();
    Ok(())
}

/// The server must finish, and close.
async fn close_by_half(world: &mut World, mut rng: Rng) -> Result<(), String> {
    let mut session = begin(world, &mut rng, Pace::FAST).await?;
    session
        .listen_for(Duration::from_millis(rng.u64(..300)))
        .await?;
    session
        .socket()
        .half_close()
        .map_err(|error| error.to_string())?;
    match session.listen_for(PATIENCE).await? {
        Some(_) => Ok(()),
        None => Err("the server kept a connection that was closed by half".into()),
    }
}

/// Nothing is expected but that the server takes connections.
async fn babble(world: &mut World, mut rng: Rng) -> Result<(), String> {
    let (after, bytes) = garbage::draw(&mut rng);
    let mut socket = match after {
        After::Connecting => Socket::raw(world.address, Pace::FAST).await,
        After::Upgrading => Socket::open(world.address, Pace::FAST).await,
        After::Introduction => {
            let session = Session::connect(world, rng.fork(), Pace::FAST).await?;
            Ok(session.into_socket())
        }
    }
    .map_err(|error| format!("connecting: {error}"))?;
    let talk = async {
        if socket.send(&bytes).await.is_ok() {
            while !socket.receive().await.is_end() {}
        }
    };
    // It may be kept waiting, as what it sends may be the beginning of something.
    drop(timeout(Duration::from_millis(rng.u64(..100)), talk).await);
    if rng.bool() {
        socket.reset();
    }
    Ok(())
}
