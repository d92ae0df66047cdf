//! How fast the transport is on this machine: small POSTs and 4 KB mails over kept connections to sinks in the same
//! process, with the CPU time of each side. `cargo run --release -p tidings-net --example throughput`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool: it prints, and stops when it cannot")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::{fs, sync::Arc, time::Instant};

use bytes::Bytes;
use model::{Call, HttpCall, Method, SmtpCall, SmtpSecurity, Transport};
use tidings_net::{Guard, Net, NetConfig, SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

const EXCHANGES: usize = 100_000;
const AT_ONCE: usize = 64;

fn main() {
    let (server, client) = (runtime("sink"), runtime("client"));
    let http = listen(&server, |stream| async move { drop(http_sink(stream).await) });
    let smtp = listen(&server, |stream| async move { drop(smtp_sink(stream).await) });
    let guard = Guard::new(vec!["loopback".parse().unwrap()]);
    let net = Net::new(NetConfig { guard, ..NetConfig::default() }, Arc::new(SystemClock)).unwrap();
    let post = HttpCall::new(Method::Post, format!("http://127.0.0.1:{http}/v1/messages"));
    measure(&client, &net, "POST", Call::Http(post.body("application/json", vec![b'x'; 200])));
    let mail = SmtpCall {
        host: "127.0.0.1".into(),
        port: smtp,
        security: SmtpSecurity::None,
        login: None,
        helo: "tidings.example".into(),
        mail_from: "b+1@return.example".into(),
        rcpt_to: Some("ada@example.com".parse().unwrap()),
        data: Bytes::from("An ordinary line of an ordinary mail, seventy characters altogether\r\n".repeat(60)),
        envelope_id: None,
        timeout_ms: 30_000,
    };
    measure(&client, &net, "mail", Call::Smtp(mail));
}

fn runtime(name: &'static str) -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

fn listen<F: Future<Output = ()> + Send + 'static>(server: &Runtime, serve: fn(TcpStream) -> F) -> u16 {
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

fn measure(client: &Runtime, net: &Arc<Net>, what: &str, call: Call) {
    let call = Arc::new(call);
    let (start, cpu) = (Instant::now(), [cpu_us("client"), cpu_us("sink")]);
    let workers = (0..AT_ONCE).map(|_| {
        let (net, call) = (Arc::clone(net), Arc::clone(&call));
        client.spawn(async move {
            for _ in 0..EXCHANGES / AT_ONCE {
                net.exchange(Arc::clone(&call)).await.unwrap();
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    client.block_on(async {
        for worker in workers {
            worker.await.unwrap()
        }
    });
    let each = |name, before| (cpu_us(name) - before) / EXCHANGES as f64;
    println!(
        "{what}: {:.0}/s, client {:.1} us CPU each, sink {:.1} us",
        EXCHANGES as f64 / start.elapsed().as_secs_f64(),
        each("client", cpu[0]),
        each("sink", cpu[1]),
    );
}

/// CPU time of the threads with this name, in microseconds (Linux only).
fn cpu_us(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let ours = tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let nanos = |task: std::path::PathBuf| -> f64 {
        let stat = fs::read_to_string(task.join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse().unwrap()
    };
    ours.map(nanos).sum::<f64>() / 1000.0
}

async fn http_sink(mut stream: TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    while stream.read(&mut chunk).await? > 0 {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"id\":\"abc1\"}",
            )
            .await?;
    }
    Ok(())
}

async fn smtp_sink(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"220 sink\r\n").await?;
    let (mut chunk, mut inbox) = ([0; 16 * 1024], Vec::new());
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        inbox.extend_from_slice(&chunk[..count]);
        let reply: &[u8] = match &inbox[..] {
            [b'E', ..] => b"250-sink\r\n250 PIPELINING\r\n",
            [b'Q', ..] => b"221 bye\r\n",
            mail if mail.ends_with(b"\r\nDATA\r\n") => b"250 a\r\n250 b\r\n354 c\r\n",
            mail if mail.ends_with(b"\r\n.\r\n") => b"250 2.0.0 Ok: queued as 8315E9AC918\r\n",
            _ => continue,
        };
        inbox.clear();
        stream.write_all(reply).await?;
    }
}
