//! A poem server of actix's own actors, one a connection, as an actix user writes it.
//!
//! ```text
//! peer-actix PORT FILE [BYTES MILLISECONDS]
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use anyhow::{Context as _, Result};
use mimalloc::MiMalloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const BACKLOG: u32 = 4096;
const LINGER: Duration = Duration::from_secs(30);

struct Connection {
    reader: Option<TcpStream>,
    poem: Arc<[u8]>,
    pace: Option<(usize, Duration)>,
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let reader = self.reader.take().expect("a connection starts once");
        let recital = recite(reader, self.poem.clone(), self.pace);
        ctx.spawn(recital.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

async fn recite(
    mut reader: TcpStream,
    poem: Arc<[u8]>,
    pace: Option<(usize, Duration)>,
) -> std::io::Result<()> {
    match pace {
        None => reader.write_all(&poem).await?,
        Some((bytes, pause)) => {
            let mut due = Instant::now();
            for chunk in poem.chunks(bytes) {
                sleep_until(due).await;
                reader.write_all(chunk).await?;
                due += pause;
            }
        }
    }
    reader.shutdown().await?;
    let mut said = [0; 256];
    let _ = timeout(LINGER, async {
        while reader.read(&mut said).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port: u16 = arguments.first().context("PORT FILE")?.parse()?;
    let poem: Arc<[u8]> = std::fs::read(arguments.get(1).context("PORT FILE")?)?.into();
    let pace = match arguments.get(2..4) {
        Some([bytes, ms]) => Some((bytes.parse()?, Duration::from_millis(ms.parse()?))),
        _ => None,
    };
    System::new().block_on(async move {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let listener = socket.listen(BACKLOG)?;
        loop {
            let Ok((reader, _)) = listener.accept().await else {
                continue;
            };
            Connection {
                reader: Some(reader),
                poem: poem.clone(),
                pace,
            }
            .start();
        }
    })
}
