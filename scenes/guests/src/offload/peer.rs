// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cloud-hypervisor, as its documents describe the offload: no binary of it is to be had here.
//! Its guest counts in its memory, and writes each count down.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use luo_client::memory::Regions;
use luo_sys::MappedFile;
use serde_json::{Value, json};

use super::wire::{COMPLETE, COMPLETE_PAUSED, CONFIG, MEMORY_FD, START, STATE, Wire};

/// The name of the program.
pub const PROGRAM: &str = "cloud-hypervisor";

/// The variable that says where to write down what goes over the wire.
pub(super) const RECORD: &str = "LUO_PEER_RECORD";

/// The variable that says what is to go wrong.
pub(super) const FAULT: &str = "LUO_PEER_FAULT";

/// Between two steps of its guest.
const STEP: Duration = Duration::from_millis(2);

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A guest that is given is refused when its state has come.
    RefusesState,
    /// As that, at the last word.
    RefusesEnd,
    /// The guest is never handed over.
    SendsNothing,
    /// The guest is handed over by a version that answers when all is over.
    AnswersLate,
}

impl Fault {
    const ALL: [Self; 4] = [
        Self::RefusesState,
        Self::RefusesEnd,
        Self::SendsNothing,
        Self::AnswersLate,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::RefusesState => "refuses-state",
            Self::RefusesEnd => "refuses-end",
            Self::SendsNothing => "sends-nothing",
            Self::AnswersLate => "answers-late",
        }
    }

    fn wanted() -> Option<Self> {
        let word = std::env::var(FAULT).ok()?;
        Self::ALL.into_iter().find(|fault| fault.word() == word)
    }
}

/// What is on its command line.
struct Given {
    api: PathBuf,
    counts: PathBuf,
    memory: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    Nothing,
    Running,
    Paused,
    /// It is being handed over, and nothing can be asked of it.
    Away,
}

/// The guest.
struct Vm {
    runs: Runs,
    memory: Option<File>,
    /// It is mapped, as that of a guest is.
    map: Option<MappedFile>,
    counts: File,
}

impl Vm {
    fn take(&mut self, memory: File) -> Result<()> {
        let mut regions = Regions::new();
        self.map = Some(regions.adopt("ram", memory.try_clone()?)?.map()?);
        self.memory = Some(memory);
        Ok(())
    }
}

type Shared = Arc<Mutex<Vm>>;

/// Runs until its guest has gone, or for ever.
#[must_use]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{PROGRAM}: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn given() -> Result<Given> {
    let (mut api, mut counts, mut memory) = (None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context("a value is missing")?;
        match argument.as_str() {
            "--api-socket" => api = Some(value.into()),
            "--log-file" => counts = Some(value.into()),
            "--memory" => {
                let size = value
                    .strip_prefix("size=")
                    .and_then(|it| it.strip_suffix("M,shared=on"));
                memory = Some(size.context("no size")?.parse::<u64>()? << 20);
            }
            other => bail!("{other} is not known"),
        }
    }
    Ok(Given {
        api: api.context("no API")?,
        counts: counts.context("no log")?,
        memory,
    })
}

fn serve() -> Result<()> {
    let given = given()?;
    let counts = OpenOptions::new()
        .create(true)
        .append(true)
        .open(given.counts)?;
    let mut vm = Vm {
        runs: Runs::Nothing,
        memory: None,
        map: None,
        counts,
    };
    if let Some(bytes) = given.memory {
        vm.take(memory(bytes)?)?;
        vm.runs = Runs::Running;
    }
    let vm = Arc::new(Mutex::new(vm));
    let guest = Arc::clone(&vm);
    std::thread::spawn(move || {
        loop {
            if let Err(why) = step(&mut lock(&guest)) {
                eprintln!("{PROGRAM}: the guest: {why:#}");
                std::process::exit(70);
            }
            std::thread::sleep(STEP);
        }
    });
    for stream in UnixListener::bind(given.api)?.incoming() {
        let (stream, vm) = (stream?, Arc::clone(&vm));
        std::thread::spawn(move || {
            if let Err(why) = answer(stream, &vm) {
                eprintln!("{PROGRAM}: {why:#}");
            }
        });
    }
    Ok(())
}

fn lock(vm: &Shared) -> MutexGuard<'_, Vm> {
    vm.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step of the guest: what it has left of the step before is still there.
fn step(vm: &mut Vm) -> Result<()> {
    let (Runs::Running, Some(memory)) = (vm.runs, &vm.memory) else {
        return Ok(());
    };
    let pages = memory.metadata()?.len() / PAGE - 1;
    let place = |count: u64| PAGE * (1 + count % pages);
    let last = word(memory, 0)?;
    if last > 0 {
        let left = word(memory, place(last))?;
        ensure!(left == last, "{left} is left of {last}");
    }
    let count = last + 1;
    memory.write_all_at(&count.to_le_bytes(), place(count))?;
    memory.write_all_at(&count.to_le_bytes(), 0)?;
    Ok(writeln!(vm.counts, "{count}")?)
}

fn word(memory: &File, at: u64) -> Result<u64> {
    let mut word = [0; 8];
    memory.read_exact_at(&mut word, at)?;
    Ok(u64::from_le_bytes(word))
}

/// A memfd with the name that cloud-hypervisor gives.
fn memory(bytes: u64) -> Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("ch_ram", flags)?);
    file.set_len(bytes)?;
    Ok(file)
}

/// Answers a request on the control socket.
fn answer(mut stream: UnixStream, vm: &Shared) -> Result<()> {
    let Some((what, body)) = request(&mut stream)? else {
        return Ok(());
    };
    let url = |name: &str| {
        let url = body.get(name).and_then(Value::as_str);
        let path = url.and_then(|url| url.strip_prefix("unix:"));
        path.map(PathBuf::from).context("no such address")
    };
    let done = match what.as_str() {
        "vmm.ping" => return say(&mut stream, 200, &json!({ "version": "peer" })),
        "vm.info" => {
            let state = match lock(vm).runs {
                Runs::Nothing => return say(&mut stream, 404, &json!("the VM is not created")),
                Runs::Away => return say(&mut stream, 500, &json!("the VM is being migrated")),
                runs => format!("{runs:?}"),
            };
            return say(&mut stream, 200, &json!({ "state": state }));
        }
        "vm.pause" => change(vm, Runs::Running, Runs::Paused),
        "vm.resume" => change(vm, Runs::Paused, Runs::Running),
        "vm.send-migration" => {
            ensure!(body.get("local") == Some(&Value::Bool(true)), "{body}");
            let path = url("destination_url")?;
            if Fault::wanted() != Some(Fault::AnswersLate) {
                say(&mut stream, 204, &Value::Null)?;
                return send(&path, vm);
            }
            send(&path, vm)
        }
        "vm.receive-migration" => receive(&url("receiver_url")?, vm),
        other => bail!("{other} is asked for"),
    };
    match done {
        Ok(()) => say(&mut stream, 204, &Value::Null),
        Err(why) => say(&mut stream, 500, &json!(format!("{why:#}"))),
    }
}

fn change(vm: &Shared, from: Runs, to: Runs) -> Result<()> {
    let mut vm = lock(vm);
    ensure!(vm.runs == from, "the guest is {:?}", vm.runs);
    vm.runs = to;
    Ok(())
}

/// Hands the guest over. At the end of it this process ends; if it is refused the guest is where
/// it was.
fn send(path: &PathBuf, vm: &Shared) -> Result<()> {
    if Fault::wanted() == Some(Fault::SendsNothing) {
        bail!("it is not to be");
    }
    let mut wire = wire(UnixStream::connect(path)?);
    let (memory, was) = {
        let mut vm = lock(vm);
        let memory = vm.memory.as_ref().context("no guest")?.try_clone()?;
        (memory, std::mem::replace(&mut vm.runs, Runs::Away))
    };
    let sent = hand_over(&mut wire, &memory, was);
    if matches!(sent, Ok(true)) {
        std::process::exit(0);
    }
    lock(vm).runs = was;
    bail!("the receiver refuses")
}

/// The conversation; gives whether it has come to a good end.
fn hand_over(wire: &mut Wire, memory: &File, was: Runs) -> Result<bool> {
    let refused = "the receiver refuses";
    ensure!(wire.ask(START, 2, &[])?, refused);
    ensure!(wire.ask_slot(0, memory)?, refused);
    let config = json!({ "memory": memory.metadata()?.len() }).to_string();
    ensure!(wire.ask(CONFIG, 0, config.as_bytes())?, refused);
    let count = word(memory, 0)?;
    let state = json!({ "count": format!("{count:012}") }).to_string();
    ensure!(wire.ask(STATE, 0, state.as_bytes())?, refused);
    let last = match was {
        Runs::Running => COMPLETE,
        _ => COMPLETE_PAUSED,
    };
    wire.ask(last, 0, &[])
}

/// Takes a guest.
fn receive(path: &PathBuf, vm: &Shared) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    let mut wire = wire(listener.accept()?.0);
    let fault = Fault::wanted();
    wire.expect(START)?;
    wire.answer(true)?;
    let (slot, memory) = wire.expect(MEMORY_FD)?;
    ensure!(slot == [0; 4], "slot {slot:?}");
    let memory = File::from(memory.context("no descriptor")?);
    wire.answer(true)?;
    let config: Value = serde_json::from_slice(&wire.expect(CONFIG)?.0)?;
    let bytes = memory.metadata()?.len();
    ensure!(config == json!({ "memory": bytes }), "{config}");
    wire.answer(true)?;
    let state: Value = serde_json::from_slice(&wire.expect(STATE)?.0)?;
    let count = word(&memory, 0)?;
    let wanted = json!({ "count": format!("{count:012}") });
    if state != wanted || fault == Some(Fault::RefusesState) {
        wire.answer(false)?;
        bail!("{state} is refused, its memory has {wanted}");
    }
    wire.answer(true)?;
    let (last, ..) = wire.read()?;
    ensure!(last == COMPLETE, "it is to run, and not {last}");
    if fault == Some(Fault::RefusesEnd) {
        wire.answer(false)?;
        bail!("the end is refused");
    }
    {
        let mut vm = lock(vm);
        vm.take(memory)?;
        vm.runs = Runs::Running;
    }
    wire.answer(true)
}

fn wire(stream: UnixStream) -> Wire {
    Wire::new(stream, std::env::var_os(RECORD).map(PathBuf::from))
}

/// Reads a request: what is asked for, and with what.
fn request(stream: &mut UnixStream) -> Result<Option<(String, Value)>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.unwrap_or("0").parse()?;
            if body.len() >= length {
                let what = head.split(' ').nth(1).unwrap_or_default();
                let what = what.strip_prefix("/api/v1/").context("another path")?;
                let body = match length {
                    0 => Value::Null,
                    _ => serde_json::from_str(body)?,
                };
                return Ok(Some((what.to_owned(), body)));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            read => bytes.extend(piece.iter().take(read)),
        }
    }
}

fn say(stream: &mut UnixStream, status: u16, body: &Value) -> Result<()> {
    let text = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status} Word\r\nServer: peer\r\nContent-Length: {length}\r\n\r\n");
    Ok(stream.write_all((head + &text).as_bytes())?)
}
