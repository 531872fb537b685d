//! Clients: very many sockets on one thread, closed loop, every byte compared.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use byron_benches::wall;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// What every client does: connect, say something perhaps, hear the answer to its end.
pub(crate) struct Wanted<'a> {
    pub(crate) port: u16,
    /// How many clients at once.
    pub(crate) clients: usize,
    /// What each says first.
    pub(crate) says: &'a [u8],
    /// What each must hear.
    pub(crate) hears: &'a [u8],
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Answers heard whole.
    pub(crate) whole: u64,
    /// Answers that were not.
    pub(crate) wrong: u64,
    /// Bytes heard, of those and of answers under way.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// What the meter counted meanwhile.
    pub(crate) metered: Duration,
    /// From the connect to the end of each answer.
    pub(crate) latencies: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.whole as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }

    /// The latency that a part of all were faster than, in milliseconds.
    pub(crate) fn quantile_ms(&mut self, part: f64) -> f64 {
        self.latencies.sort_unstable();
        let at = ((self.latencies.len() as f64 * part) as usize)
            .min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(at)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

struct Client {
    stream: TcpStream,
    began: Duration,
    said: usize,
    heard: usize,
}

/// Runs the clients for so long, after a quarter of that which is not counted: as many answers are under way at the beginning as
/// at the end. `meter` is read at both.
pub(crate) fn run(
    wanted: &Wanted<'_>,
    duration: Duration,
    meter: impl Fn() -> Result<Duration>,
) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut outcome = Outcome::default();
    let mut clients = Vec::with_capacity(wanted.clients);
    for number in 0..wanted.clients {
        clients.push(connect(&poll, wanted, number)?);
    }
    let mut begin = wall();
    let mut metered = Duration::ZERO;
    let mut is_warm = false;
    loop {
        let now = wall();
        if !is_warm && now - begin >= duration / 4 {
            is_warm = true;
            outcome = Outcome::default();
            metered = meter()?;
            begin = wall();
        } else if is_warm && now - begin >= duration {
            break;
        }
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            let number = event.token().0;
            let client: &mut Client = &mut clients[number];
            let before = client.heard;
            let step = step(client, wanted, &mut buffer);
            outcome.bytes += (client.heard - before) as u64;
            match step {
                Step::GoesOn => {}
                Step::Over { whole } => {
                    if whole {
                        outcome.whole += 1;
                        outcome.latencies.push(wall() - client.began);
                    } else {
                        outcome.wrong += 1;
                    }
                    clients[number] = connect(&poll, wanted, number)?;
                }
            }
        }
    }
    outcome.elapsed = wall() - begin;
    outcome.metered = meter()? - metered;
    if outcome.bytes == 0 {
        bail!(
            "nobody on port {} said what was expected in {duration:?}",
            wanted.port
        );
    }
    Ok(outcome)
}

fn connect(poll: &Poll, wanted: &Wanted<'_>, number: usize) -> Result<Client> {
    let began = wall();
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, wanted.port)))?;
    let interest = match wanted.says {
        [] => Interest::READABLE,
        _ => Interest::READABLE | Interest::WRITABLE,
    };
    poll.registry()
        .register(&mut stream, Token(number), interest)?;
    Ok(Client {
        stream,
        began,
        said: 0,
        heard: 0,
    })
}

enum Step {
    GoesOn,
    Over { whole: bool },
}

fn step(client: &mut Client, wanted: &Wanted<'_>, buffer: &mut [u8]) -> Step {
    while client.said < wanted.says.len() {
        match client.stream.write(&wanted.says[client.said..]) {
            Ok(said) => client.said += said,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                break;
            }
            Err(_) => return Step::Over { whole: false },
        }
    }
    loop {
        match client.stream.read(buffer) {
            Ok(0) => {
                return Step::Over {
                    whole: client.heard == wanted.hears.len(),
                };
            }
            Ok(read) => {
                let expected = wanted.hears.get(client.heard..client.heard + read);
                if expected != Some(&buffer[..read]) {
                    return Step::Over { whole: false };
                }
                client.heard += read;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                return Step::GoesOn;
            }
            Err(_) => return Step::Over { whole: false },
        }
    }
}

/// Readers who stay: all connect, and hear whatever comes.
pub(crate) struct Held {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) left: u64,
    pub(crate) wrong: u64,
}

impl Held {
    /// Connects so many.
    pub(crate) fn connect(port: u16, clients: usize) -> Result<Self> {
        let wanted = Wanted {
            port,
            clients,
            says: &[],
            hears: &[],
        };
        let poll = Poll::new()?;
        let connected = (0..clients)
            .map(|number| connect(&poll, &wanted, number))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(4096),
            clients: connected,
            buffer: vec![0; 64 * 1024],
            bytes: 0,
            chunks: 0,
            left: 0,
            wrong: 0,
        })
    }

    /// How many have heard something.
    pub(crate) fn served(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.heard > 0)
            .count()
    }

    /// Listens for so long.
    pub(crate) fn listen(&mut self, poem: &[u8], duration: Duration) -> Result<()> {
        let begin = wall();
        while wall() - begin < duration {
            self.poll
                .poll(&mut self.events, Some(Duration::from_millis(20)))?;
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                loop {
                    match client.stream.read(&mut self.buffer) {
                        Ok(0) => {
                            self.left += 1;
                            self.wrong += u64::from(client.heard != poem.len());
                            break;
                        }
                        Ok(read) => {
                            let expected = poem.get(client.heard..client.heard + read);
                            self.wrong += u64::from(expected != Some(&self.buffer[..read]));
                            client.heard += read;
                            self.bytes += read as u64;
                            self.chunks += 1;
                        }
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::WouldBlock | ErrorKind::NotConnected
                            ) =>
                        {
                            break;
                        }
                        Err(_) => {
                            self.wrong += 1;
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
