// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accepting connections.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use luo_varlink::paths;
use tokio::net::{UnixListener, UnixStream};

use super::book::{Book, Entry};
use super::door::Door;
use super::{connection, metrics};
use crate::agent::Agent;

/// The group whose members may be workloads.
const GROUP: &str = "luo";

/// Where groups are.
const GROUPS: &str = "/etc/group";

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
            // Until its mode is right the socket has a hidden name, so that nobody
            // connects.
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
            metrics: bind(paths::METRICS, 0o666)?,
        })
    }
}

/// Lets the members of the group connect, if there is one.
fn give_to_group(path: &Path) {
    let group = match group_in(fs::read_to_string(GROUPS)) {
        Ok(group) => group,
        Err(why) => {
            tracing::warn!("{why}: only root can be a workload");
            return;
        }
    };
    if let Err(why) = std::os::unix::fs::chown(path, None, Some(group)) {
        tracing::warn!("the group of {}: {why}", path.display());
    }
}

/// The number of the group.
///
/// # Errors
/// In words: why it is not known.
fn group_in(groups: io::Result<String>) -> Result<u32, String> {
    let groups = match groups {
        Ok(groups) => groups,
        Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
        Err(why) => {
            return Err(format!(
                "whether there is a group '{GROUP}' is not known: {GROUPS}: {why}"
            ));
        }
    };
    group_number(&groups, GROUP).ok_or_else(|| format!("there is no group '{GROUP}'"))
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
        let listener = Rc::new(listener);
        if let Some(unread) = door.unread(&agent) {
            unread.watch(&listener);
        }
        let (agent, book) = (Rc::clone(&agent), Rc::clone(&book));
        tokio::task::spawn_local(async move {
            loop {
                let stream = accept(&listener, &book).await;
                let Some(entry) = admit(&agent, &book, &stream) else {
                    continue;
                };
                let agent = Rc::clone(&agent);
                tokio::task::spawn_local(async move {
                    agent.metrics.connections.inc();
                    connection::serve(&agent, door, &entry, stream).await;
                    agent.metrics.connections.dec();
                });
            }
        });
    }
    loop {
        let stream = accept(&sockets.metrics, &book).await;
        let Some(entry) = admit(&agent, &book, &stream) else {
            continue;
        };
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move {
            metrics::answer(&agent, stream).await;
            drop(entry);
        });
    }
}

async fn accept(listener: &UnixListener, book: &Book) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                // For example, no descriptor is left until other peers close some.
                book.quiet
                    .warn(&format!("a connection cannot be accepted: {why}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(agent: &Agent, book: &Rc<Book>, stream: &UnixStream) -> Option<Entry> {
    let user = stream.peer_cred().ok()?.uid();
    match book.enter(user, agent.connections_of_user()) {
        Ok(entry) => Some(entry),
        Err(why) => {
            book.quiet.warn(&why);
            agent.metrics.misbehaved.inc();
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found() {
        let text = "root:x:0:\nluo:x:987:vmm,cache\nluo2:x:5:\n";
        assert_eq!(group_number(text, "luo"), Some(987));
        assert_eq!(group_number(text, "lu"), None);
        assert_eq!(group_number("luo:x\nluo:x:y:", "luo"), None);
    }

    #[test]
    fn groups_that_cannot_be_read_are_not_told_to_be_missing() {
        let why = |kind: io::ErrorKind| group_in(Err(kind.into())).unwrap_err();
        assert_eq!(why(io::ErrorKind::NotFound), "there is no group 'luo'");
        let told = why(io::ErrorKind::PermissionDenied);
        assert!(
            told.contains("not known: /etc/group: ") && !told.contains("there is no"),
            "{told}"
        );
        assert_eq!(group_in(Ok("luo:x:987:".to_owned())), Ok(987));
    }
}
