//! What the tests of the network are told with: real programs, real sockets, and waits that end.
//!
//! Nothing here sleeps, and no test asserts how long something took: a test waits for what it can see (bytes, a line, a
//! connection, an exit), and fails with what it saw instead when [`LIMIT`] has passed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What `sha256sum poetry/ecstasy.txt` says.
pub(crate) const ECSTASY_SHA256: &str =
    "6dfc3f5dbc4a1bc05e48ac0983bc401c1e8e3fd400cf92c840b0bb41ef5c89aa";

/// How long anything may take that a test waits for. Generous: a busy machine is no bug, and only a failure waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A pause that no test lives to see the end of.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// Between two looks at something that does not tell when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// An address of this machine where nobody listens, whatever the port: everything else here is at 127.0.0.1 and ::1.
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Waits for something that does not tell when it changes.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..LIMIT.as_millis() / LOOK.as_millis() {
        if is_so() {
            return;
        }
        thread::park_timeout(LOOK);
    }
    panic!("waited {LIMIT:?} in vain: {what}");
}

/// A file of `poetry/`.
pub(crate) fn poem_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("poetry/{name}.txt"))
}

/// The text of a poem of `poetry/`.
pub(crate) fn poem(name: &str) -> Vec<u8> {
    fs::read(poem_path(name)).unwrap()
}

/// A program of `tests/peers`.
pub(crate) fn peer_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

/// Bytes that are no text and never the same for long.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut random = generator(bytes as u64);
    (0..bytes).map(|_| random()).collect()
}

/// A generator of its own: a poem has to be the same in every run.
fn generator(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }
}

/// Fails with the place of the first difference, not with two megabytes.
#[track_caller]
pub(crate) fn assert_same(heard: &[u8], said: &[u8]) {
    if heard != said {
        let place = heard.iter().zip(said).take_while(|(a, b)| a == b).count();
        let around = |bytes: &[u8]| {
            let end = bytes.len().min(place + 40);
            String::from_utf8_lossy(&bytes[place.min(end)..end]).into_owned()
        };
        panic!(
            "heard {} bytes of {}; they differ from byte {place} on: heard {:?}, said {:?}",
            heard.len(),
            said.len(),
            around(heard),
            around(said)
        );
    }
}

/// What a program or a socket says, as it says it.
#[derive(Clone)]
pub(crate) struct Output {
    shared: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    end: Option<Result<(), io::ErrorKind>>,
}

impl Output {
    /// Listens until the end.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Output {
        let output = Output {
            shared: Arc::default(),
        };
        let listener = output.clone();
        thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                let read = source.read(&mut chunk);
                let (said, changed) = &*listener.shared;
                let mut said = said.lock().unwrap();
                match read {
                    Ok(0) => said.end = Some(Ok(())),
                    Ok(read) => said.bytes.extend_from_slice(&chunk[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // A terminal whose other side has gone says so with an error; it is an end like any other.
                    Err(error) if error.raw_os_error() == Some(5) => said.end = Some(Ok(())),
                    Err(error) => said.end = Some(Err(error.kind())),
                }
                changed.notify_all();
                if said.end.is_some() {
                    return;
                }
            }
        });
        output
    }

    #[track_caller]
    fn wait(&self, what: &str, is_so: impl Fn(&Said) -> bool) -> MutexGuard<'_, Said> {
        let (said, changed) = &*self.shared;
        let (said, timeout) = changed
            .wait_timeout_while(said.lock().unwrap(), LIMIT, |said| {
                !is_so(said) && said.end.is_none()
            })
            .unwrap();
        if !is_so(&said) {
            let why = if timeout.timed_out() {
                "in vain"
            } else {
                "to the end, in vain,"
            };
            let text = String::from_utf8_lossy(&said.bytes).into_owned();
            drop(said);
            panic!("waited {why} for {what}; what there is:\n{text}");
        }
        said
    }

    /// Waits until it has said so many bytes.
    #[track_caller]
    pub(crate) fn wait_for_bytes(&self, bytes: usize) -> Vec<u8> {
        let said = self.wait(&format!("{bytes} bytes"), |said| said.bytes.len() >= bytes);
        said.bytes.clone()
    }

    /// Waits until `text` is part of what it says.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        drop(self.wait(&format!("{text:?}"), |said| {
            String::from_utf8_lossy(&said.bytes).contains(text)
        }));
    }

    /// Waits until it has said so many whole lines.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, lines: usize) -> Vec<String> {
        let said = self.wait(&format!("{lines} lines"), |said| {
            said.bytes.iter().filter(|byte| **byte == b'\n').count() >= lines
        });
        let text = String::from_utf8_lossy(&said.bytes);
        text.lines().take(lines).map(str::to_owned).collect()
    }

    /// Waits for the end: everything it said, and whether the end was an orderly one.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) -> (Vec<u8>, Result<(), io::ErrorKind>) {
        let said = self.wait("the end", |said| said.end.is_some());
        (said.bytes.clone(), said.end.unwrap())
    }

    /// Waits for the orderly end of everything it said.
    #[track_caller]
    pub(crate) fn whole(&self) -> Vec<u8> {
        let (bytes, end) = self.wait_for_end();
        assert_eq!(end, Ok(()), "cut off after {} bytes", bytes.len());
        bytes
    }

    /// Waits to be cut off.
    #[track_caller]
    pub(crate) fn cut_off(&self) -> Vec<u8> {
        let (bytes, end) = self.wait_for_end();
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
        bytes
    }

    /// What it has said so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.shared.0.lock().unwrap().bytes.clone()
    }
}

/// A program that runs; it is killed if a test is over before it is.
pub(crate) struct Process {
    name: String,
    pid: u32,
    pub(crate) stdin: Option<std::process::ChildStdin>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a program whose output is listened to.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Process {
        Process::spawn(command.stdout(Stdio::piped()))
    }

    /// Starts a program whose standard output goes to `stdout`.
    #[track_caller]
    pub(crate) fn start_into(command: &mut Command, stdout: impl Into<Stdio>) -> Process {
        Process::spawn(command.stdout(stdout))
    }

    #[track_caller]
    fn spawn(command: &mut Command) -> Process {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut child = match command.stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {name}: {error}{}", advice(&name)),
        };
        fn listen<T: Read + Send + 'static>(source: Option<T>) -> Output {
            match source {
                Some(source) => Output::of(source),
                None => Output::of(io::empty()),
            }
        }
        let (stdin, pid) = (child.stdin.take(), child.id());
        let (stdout, stderr) = (listen(child.stdout.take()), listen(child.stderr.take()));
        Process {
            name,
            pid,
            stdin,
            stdout,
            stderr,
            exit: reap(child),
            status: None,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal: `TERM`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name])
            .arg(self.pid.to_string())
            .stderr(Stdio::null())
            .status();
        assert!(sent.unwrap().success(), "no {} to signal", self.name);
    }

    /// How many descriptors of it are sockets.
    pub(crate) fn sockets(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        let is_socket = |path: PathBuf| {
            fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
        };
        descriptors
            .filter(|entry| entry.as_ref().is_ok_and(|entry| is_socket(entry.path())))
            .count()
    }

    /// Waits for its exit.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let status = match self.exit.recv_timeout(LIMIT) {
            Ok(status) => status,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!(
                "{} did not end; on stderr it said:\n{}",
                self.name,
                String::from_utf8_lossy(&self.stderr.so_far())
            ),
        };
        self.status = Some(status);
        Finished {
            status,
            stdout: self.stdout.whole(),
            stderr: String::from_utf8_lossy(&self.stderr.whole()).into_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_running = self.status.is_none() && self.exit.try_recv().is_err();
        if is_running {
            self.signal("KILL");
        }
    }
}

/// Waits for a program on a thread, so that others can wait for it with a limit.
fn reap(mut child: Child) -> Receiver<ExitStatus> {
    let (sender, exit) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait().unwrap()));
    exit
}

/// The Debian package of a program that is not there.
fn advice(program: &str) -> String {
    let package = match program {
        "nc" => "netcat-openbsd",
        "escript" => "erlang-base",
        "script" => "util-linux",
        "python3" => "python3-twisted",
        other => other,
    };
    format!("; apt-get install {package}, or let tests/run do it")
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    status: ExitStatus,
    /// What it said.
    pub(crate) stdout: Vec<u8>,
    /// What it said to a person.
    pub(crate) stderr: String,
}

impl Finished {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Finished {
        assert_eq!(
            self.status.code(),
            Some(code),
            "it ended with {}, {} bytes on stdout, and said:\n{}",
            self.status,
            self.stdout.len(),
            self.stderr
        );
        self
    }

    /// It said exactly these bytes on standard output.
    #[track_caller]
    pub(crate) fn said(self, stdout: impl AsRef<[u8]>) -> Finished {
        assert_same(&self.stdout, stdout.as_ref());
        self
    }

    /// It said nothing to a person.
    #[track_caller]
    pub(crate) fn quietly(self) -> Finished {
        assert_eq!(self.stderr, "");
        self
    }

    /// What it said to a person has `text` in it.
    #[track_caller]
    pub(crate) fn complained(self, text: &str) -> Finished {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in:\n{}",
            self.stderr
        );
        self
    }

    /// What it said on standard output, as the lines of a text.
    pub(crate) fn lines(&self) -> Vec<&str> {
        str::from_utf8(&self.stdout).unwrap().lines().collect()
    }

    /// What it said on standard output, as one JSON value a line.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.lines().into_iter();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The program, without the settings of whoever runs the tests.
pub(crate) fn byron() -> Command {
    settled(Command::new(env!("CARGO_BIN_EXE_byron")))
}

/// The program, started by a shell that first does something to its surroundings.
pub(crate) fn byron_after(preparation: &str) -> Command {
    let mut shell = settled(Command::new("sh"));
    shell
        .args(["-c", &format!("{preparation}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_byron"));
    shell
}

thread_local! {
    static RUNTIME_DIRECTORY: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// Where the instances of this test find each other, and nobody else's: each test has a thread of its own.
pub(crate) fn runtime_directory() -> PathBuf {
    RUNTIME_DIRECTORY.with(|directory| directory.path().to_owned())
}

fn settled(mut command: Command) -> Command {
    for variable in [
        "BYRON_COLOR",
        "BYRON_INSTANCE",
        "BYRON_LOG",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(variable);
    }
    command
        .env("XDG_RUNTIME_DIR", runtime_directory())
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    command
}

/// Starts `byron` with these words of a shell, on a terminal of 100 columns; util-linux `script` is the terminal.
#[track_caller]
pub(crate) fn on_terminal(words: &str) -> Process {
    on_terminal_with(words, &[])
}

/// The same, with more of an environment.
#[track_caller]
pub(crate) fn on_terminal_with(words: &str, environment: &[(&str, &str)]) -> Process {
    let program = env!("CARGO_BIN_EXE_byron");
    let mut command = Command::new("script");
    command
        .args(["-q", "-e", "-c"])
        .arg(format!("stty rows 30 cols 100; exec '{program}' {words}"))
        .arg("/dev/null")
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .env("XDG_RUNTIME_DIR", runtime_directory())
        // A terminal whose keyboard is gone tells its programs so.
        .stdin(Stdio::piped());
    for variable in ["NO_COLOR", "BYRON_COLOR", "CLICOLOR_FORCE", "CI", "COLUMNS"] {
        command.env_remove(variable);
    }
    command.envs(environment.iter().copied());
    Process::start(&mut command)
}

/// `byron get`, to be given more arguments.
pub(crate) struct Get {
    command: Command,
}

/// `byron get` from these targets: ports, or anything else that it understands.
pub(crate) fn get(targets: impl IntoIterator<Item = impl ToString>) -> Get {
    let mut command = byron();
    command.arg("get");
    for target in targets {
        command.arg(target.to_string());
    }
    Get { command }
}

impl Get {
    /// More arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Get {
        self.command.args(args);
        self
    }

    /// An argument and its value.
    pub(crate) fn with(self, flag: &str, value: impl AsRef<OsStr>) -> Get {
        self.args([OsStr::new(flag), value.as_ref()])
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(mut self) -> Process {
        Process::start(&mut self.command)
    }

    /// Runs it to its end, its standard output going to `stdout`.
    #[track_caller]
    pub(crate) fn run_into(mut self, stdout: impl Into<Stdio>) -> Finished {
        Process::start_into(&mut self.command, stdout).finish()
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }
}

/// `byron serve`, to be described and started.
pub(crate) struct ServerBuilder {
    command: Command,
    poems: usize,
}

/// A server of a poem of `poetry/`.
pub(crate) fn server(name: &str) -> ServerBuilder {
    server_of(&poem_path(name))
}

/// A server of a file.
pub(crate) fn server_of(poem: &Path) -> ServerBuilder {
    serve_with(byron(), poem)
}

/// A server of a file, run by a command that was prepared.
pub(crate) fn serve_with(mut command: Command, poem: &Path) -> ServerBuilder {
    command.arg("serve").arg(poem);
    ServerBuilder { command, poems: 1 }
}

impl ServerBuilder {
    /// So many bytes at a time, and a pause after each.
    pub(crate) fn pace(self, bytes: usize, delay: Duration) -> ServerBuilder {
        let delay = format!("{}ms", delay.as_millis());
        self.args(["--num-bytes", &bytes.to_string(), "--delay", &delay])
    }

    /// One more poem of `poetry/`.
    pub(crate) fn and(mut self, name: &str) -> ServerBuilder {
        self.command.arg(poem_path(name));
        self.poems += 1;
        self
    }

    /// More arguments.
    pub(crate) fn args(
        mut self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> ServerBuilder {
        self.command.args(args);
        self
    }

    /// Starts it, and waits until it has told its ports.
    #[track_caller]
    pub(crate) fn start(mut self) -> Server {
        let process = Process::start(&mut self.command);
        let lines = process.stdout.wait_for_lines(self.poems);
        let port = |line: &String| {
            let (_, port) = line.rsplit_once(" on port ").unwrap();
            port.trim_end_matches('.').parse().unwrap()
        };
        Server {
            ports: lines.iter().map(port).collect(),
            process,
        }
    }

    /// Runs it to its end, which comes at once if it cannot start.
    #[track_caller]
    pub(crate) fn run(mut self) -> Finished {
        Process::start(&mut self.command).finish()
    }
}

/// `byron transform` with these arguments, once it has told so many ports.
#[track_caller]
pub(crate) fn transform(args: impl IntoIterator<Item = impl AsRef<OsStr>>, ports: usize) -> Server {
    let mut command = byron();
    command.arg("transform").args(args);
    ServerBuilder {
        command,
        poems: ports,
    }
    .start()
}

/// A server that has told its ports.
pub(crate) struct Server {
    pub(crate) ports: Vec<u16>,
    pub(crate) process: Process,
}

impl Server {
    /// The port of its only poem.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// A reader that listens to its only poem from now on.
    #[track_caller]
    pub(crate) fn reader(&self) -> Output {
        Output::of(connect(self.port()))
    }

    /// Waits for a line that tells something to a person.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.process.stderr.wait_for(text);
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(self) -> Finished {
        self.process.signal("TERM");
        self.process.finish()
    }

    /// Ends it at once, as a machine that fails does.
    #[track_caller]
    pub(crate) fn kill(self) {
        self.process.signal("KILL");
        self.process.finish();
    }
}

/// A connection to a port of this machine.
#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT).unwrap()
}

/// A server made by hand: the test decides what it says and when.
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) local_addr: SocketAddr,
    accepted: Receiver<TcpStream>,
}

impl Peer {
    /// Listens on a free port.
    pub(crate) fn listen() -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local_addr = listener.local_addr().unwrap();
        let (sender, accepted) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if sender.send(stream.unwrap()).is_err() {
                    return;
                }
            }
        });
        Peer {
            local_addr,
            accepted,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.local_addr.port()
    }

    /// Waits for the next reader.
    #[track_caller]
    pub(crate) fn accept(&self) -> TcpStream {
        match self.accepted.recv_timeout(LIMIT) {
            Ok(stream) => stream,
            Err(_) => panic!("nobody connected to {}", self.local_addr),
        }
    }

    /// Whether nobody has come.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.accepted.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

/// Ports of this machine where nobody listens, as long as this is kept.
pub(crate) struct Nobody {
    listener: TcpListener,
}

impl Nobody {
    /// Keeps a port from the other tests; at [`NOBODY`] there is still no one.
    pub(crate) fn new() -> Nobody {
        Nobody {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        }
    }

    /// The target.
    pub(crate) fn target(&self) -> SocketAddr {
        SocketAddr::new(
            IpAddr::V4(NOBODY),
            self.listener.local_addr().unwrap().port(),
        )
    }
}

/// A file of its own in a directory of its own.
pub(crate) fn file(bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("poem.txt");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The device that is always full.
pub(crate) fn full_disk() -> File {
    fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
}
