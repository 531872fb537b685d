//! The servers and the client of this comparison with nothing but tokio, as a tokio user writes them.
//!
//! ```text
//! peer-tokio serve PORT FILE THREADS          shut down, then read until the reader leaves: ends as correctly as byron
//! peer-tokio close PORT FILE THREADS          shut down and close: a talkative reader may lose the end
//! peer-tokio slow PORT FILE BYTES MILLISECONDS
//! peer-tokio farm PORT COUNT FILE BYTES MILLISECONDS   COUNT slow servers, from PORT on
//! peer-tokio transform PORT                   cummingsify, by netstrings
//! peer-tokio get PORT...                      all at once, printed in order
//! ```

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mimalloc::MiMalloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until, timeout};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const BACKLOG: u32 = 4096;
const LINGER: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Pace {
    Fast { lingers: bool },
    Slow { bytes: usize, pause: Duration },
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", port, file, threads] => serve_on_threads(port, file, threads, true),
        ["close", port, file, threads] => serve_on_threads(port, file, threads, false),
        ["slow", port, file, bytes, ms] => {
            let (poem, pace) = (read(file)?, slow(bytes, ms)?);
            local(async move { serve(listen(port.parse()?)?, poem, pace).await })
        }
        ["farm", port, count, file, bytes, ms] => {
            let (poem, pace) = (read(file)?, slow(bytes, ms)?);
            let (first, count): (u16, u16) = (port.parse()?, count.parse()?);
            local(async move {
                for port in first..first + count {
                    tokio::spawn(serve(listen_alone(port)?, poem.clone(), pace));
                }
                std::future::pending().await
            })
        }
        ["transform", port] => {
            let port = port.parse()?;
            local(async move { transform(listen(port)?).await })
        }
        ["get", ref ports @ ..] => {
            let ports = ports
                .iter()
                .map(|port| Ok(port.parse()?))
                .collect::<Result<Vec<u16>>>()?;
            local(get(ports))
        }
        _ => bail!("see the head of {}", file!()),
    }
}

fn local<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn read(file: &str) -> Result<Arc<[u8]>> {
    Ok(std::fs::read(file).with_context(|| file.to_owned())?.into())
}

fn slow(bytes: &str, ms: &str) -> Result<Pace> {
    Ok(Pace::Slow {
        bytes: bytes.parse()?,
        pause: Duration::from_millis(ms.parse()?),
    })
}

fn listen(port: u16) -> Result<TcpListener> {
    listen_with(port, true)
}

/// Alone, so that another program's readers are not among its own.
fn listen_alone(port: u16) -> Result<TcpListener> {
    listen_with(port, false)
}

fn listen_with(port: u16, shares: bool) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shares)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket.listen(BACKLOG)?)
}

fn serve_on_threads(port: &str, file: &str, threads: &str, lingers: bool) -> Result<()> {
    let (port, poem) = (port.parse()?, read(file)?);
    let threads: Vec<_> = (0..threads.parse()?)
        .map(|_: u32| {
            let poem = poem.clone();
            std::thread::spawn(move || {
                local(async move { serve(listen(port)?, poem, Pace::Fast { lingers }).await })
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a server does not panic")?;
    }
    Ok(())
}

async fn serve(listener: TcpListener, poem: Arc<[u8]>, pace: Pace) -> Result<()> {
    loop {
        let Ok((reader, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(recite(reader, poem.clone(), pace));
    }
}

async fn recite(mut reader: TcpStream, poem: Arc<[u8]>, pace: Pace) -> Result<()> {
    let lingers = match pace {
        Pace::Fast { lingers } => {
            reader.write_all(&poem).await?;
            lingers
        }
        Pace::Slow { bytes, pause } => {
            let mut due = Instant::now();
            for chunk in poem.chunks(bytes) {
                sleep_until(due).await;
                reader.write_all(chunk).await?;
                due += pause;
            }
            true
        }
    };
    reader.shutdown().await?;
    if lingers {
        let mut said = [0; 256];
        let _ = timeout(LINGER, async {
            while reader.read(&mut said).await.is_ok_and(|read| read > 0) {}
        })
        .await;
    }
    Ok(())
}

async fn transform(listener: TcpListener) -> Result<()> {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(answer(client));
    }
}

async fn answer(mut client: TcpStream) -> Result<()> {
    let mut said = Vec::with_capacity(4096);
    loop {
        if client.read_buf(&mut said).await? == 0 {
            bail!("left");
        }
        let Some(colon) = said.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let length: usize = std::str::from_utf8(&said[..colon])?.parse()?;
        if said.len() < colon + 1 + length + 1 {
            continue;
        }
        let request = &said[colon + 1..colon + 1 + length];
        let dot = request
            .iter()
            .position(|byte| *byte == b'.')
            .context("no name")?;
        if &request[..dot] != b"cummingsify" {
            bail!("unknown");
        }
        let poem = std::str::from_utf8(&request[dot + 1..])?.to_lowercase();
        client
            .write_all(format!("{}:{poem},", poem.len()).as_bytes())
            .await?;
        client.shutdown().await?;
        let mut rest = [0; 256];
        let _ = timeout(LINGER, async {
            while client.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        return Ok(());
    }
}

async fn get(ports: Vec<u16>) -> Result<()> {
    let downloads: Vec<_> = ports
        .into_iter()
        .map(|port| {
            tokio::spawn(async move {
                let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                let mut poem = Vec::new();
                server.read_to_end(&mut poem).await?;
                std::io::Result::Ok(poem)
            })
        })
        .collect();
    let mut stdout = std::io::stdout().lock();
    for download in downloads {
        stdout.write_all(&download.await??)?;
    }
    Ok(())
}
