// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accepting connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use luo_varlink::paths;
use tokio::net::{UnixListener, UnixStream};

use super::{Door, connection, metrics};
use crate::agent::Agent;

/// The group whose members may be workloads.
const GROUP: &str = "luo";

/// The sockets that are listened on.
pub struct Sockets {
    doors: Vec<(Door, UnixListener)>,
    metrics: UnixListener,
}

impl Sockets {
    /// Makes the sockets in a folder, in place of those of an earlier process.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(folder, mode(0o755))?;
        let bind = |name: &str, permissions: u32| -> io::Result<UnixListener> {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            // Nobody may connect before the mode is as it must be.
            let hidden = folder.join(format!(".{name}"));
            let _ = fs::remove_file(&hidden);
            let listener = UnixListener::bind(&hidden)?;
            fs::set_permissions(&hidden, mode(permissions))?;
            if name == paths::CLIENT {
                give_to_group(&hidden);
            }
            fs::rename(hidden, path)?;
            Ok(listener)
        };
        Ok(Self {
            doors: vec![
                (Door::Admin, bind(paths::ADMIN, 0o600)?),
                (Door::Client, bind(paths::CLIENT, 0o660)?),
                (Door::Status, bind(paths::STATUS, 0o666)?),
            ],
            metrics: bind("metrics", 0o666)?,
        })
    }
}

/// Lets the members of the group connect, if there is one.
fn give_to_group(path: &Path) {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(group) = group_number(&groups, GROUP) else {
        tracing::warn!("there is no group '{GROUP}': only root can be a workload");
        return;
    };
    if let Err(why) = std::os::unix::fs::chown(path, None, Some(group)) {
        tracing::warn!("the group of {}: {why}", path.display());
    }
}

/// The number of a group in the text of `/etc/group`.
fn group_number(text: &str, wanted: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (name == wanted).then(|| number.parse().ok())?
    })
}

/// Accepts connections, for ever.
pub async fn serve(agent: Rc<Agent>, sockets: Sockets) {
    let book = Rc::new(Book::default());
    for (door, listener) in sockets.doors {
        let (agent, book) = (Rc::clone(&agent), Rc::clone(&book));
        tokio::task::spawn_local(async move {
            loop {
                let stream = accept(&listener).await;
                admit(&agent, &book, door, stream);
            }
        });
    }
    loop {
        let stream = accept(&sockets.metrics).await;
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move { metrics::answer(&agent, stream).await });
    }
}

async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                // For example no descriptor is left: others have to close some.
                tracing::error!("a connection cannot be accepted: {why}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Counts connections.
#[derive(Default)]
struct Book {
    last: Cell<u64>,
    by_user: RefCell<BTreeMap<u32, usize>>,
}

fn admit(agent: &Rc<Agent>, book: &Rc<Book>, door: Door, stream: UnixStream) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let user = credentials.uid();
    {
        let mut by_user = book.by_user.borrow_mut();
        let count = by_user.entry(user).or_default();
        if user != 0 && *count >= agent.connections_of_user() {
            tracing::warn!(user, "it has too many connections: one more is closed");
            agent.metrics.misbehaved.inc();
            return;
        }
        *count += 1;
    }
    let number = book.last.get() + 1;
    book.last.set(number);
    let (agent, book) = (Rc::clone(agent), Rc::clone(book));
    tokio::task::spawn_local(async move {
        agent.metrics.connections.inc();
        connection::serve(&agent, door, number, stream).await;
        agent.metrics.connections.dec();
        let mut by_user = book.by_user.borrow_mut();
        if let Some(count) = by_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&user);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::group_number;

    #[test]
    fn a_group_is_found() {
        let text = "root:x:0:\nluo:x:987:vmm,cache\nluo2:x:5:\n";
        assert_eq!(group_number(text, "luo"), Some(987));
        assert_eq!(group_number(text, "lu"), None);
        assert_eq!(group_number("luo:x\nluo:x:y:", "luo"), None);
    }
}
