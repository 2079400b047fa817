// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page: who waits for what and why, blackouts by group, and the rollout's picture. It has
//! no scripts, asks nobody else for anything, and says what it knows as text.

use core::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use luo_fleetlock::status::{Fleet, Host, HostState};
use sha2::{Digest, Sha256};

use super::metrics::word;
use crate::state::change::Undone;

/// What a browser may do with it: draw, by this very style.
#[must_use]
pub fn content_policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'")
}

/// Hosts that are listed; the rest is counted.
const LISTED: usize = 2_000;

/// Hosts in the picture.
const DRAWN: usize = 400;

/// The picture's width, and the height of a host in it.
const WIDTH: i64 = 900;
const ROW: i64 = 14;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:64em;\
padding:0 1em;color:#1b1f24;background:#fff}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #dde1e6;vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums}.halted{background:#fde8e8;\
border-left:4px solid #b42318;padding:.6em 1em}.ok{background:#e9f5ec;border-left:4px solid #1a7f37;\
padding:.6em 1em}svg{max-width:100%;height:auto}.failed{color:#b42318;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#e6e9ee;background:#14171b}th,td{border-color:#333a44}\
.halted{background:#3b1714}.ok{background:#12291a}.failed{color:#ff8a80}}";

/// A text, safe between tags and in quotes.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

fn seconds(us: Option<u64>) -> String {
    us.map_or_else(String::new, |us| format!("{:.3} s", us as f64 / 1e6))
}

fn moment(ms: Option<i64>) -> String {
    let moment = ms.and_then(|ms| Timestamp::from_second(ms / 1_000).ok());
    moment.map_or_else(String::new, |moment| moment.to_string())
}

/// The page.
#[must_use]
pub fn page(fleet: &Fleet) -> String {
    let mut html = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut html, fleet);
    html
}

/// The page where how the fleet stands is not known, and why. It is tried again by itself.
#[must_use]
pub fn unknown(why: &Undone) -> String {
    let mut html = String::new();
    // Writing to a text does not fail.
    let _ = head(&mut html, "unknown", "How the fleet stands is not known");
    let _ = write!(
        html,
        "<p class=\"halted\">{}. Nobody begins meanwhile; whoever is at it goes on, and keeps its \
         slot until etcd is back. Nothing is lost.</p></body></html>",
        safe(&why.to_string())
    );
    html
}

fn head(html: &mut String, title: &str, heading: &str) -> core::fmt::Result {
    write!(
        html,
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>\
         <meta http-equiv=refresh content=10><meta name=viewport content=\"width=device-width\">\
         <style>{STYLE}</style></head><body><h1>{heading}</h1>"
    )
}

fn write(html: &mut String, fleet: &Fleet) -> core::fmt::Result {
    let (title, heading) = match fleet.rollout.as_deref().map(safe) {
        Some(rollout) => (rollout.clone(), format!("Rollout {rollout}")),
        None => ("no rollout".to_owned(), "No rollout".to_owned()),
    };
    head(html, &title, &heading)?;
    for condition in &fleet.conditions {
        let class = match (condition.name.as_str(), condition.is) {
            ("Halted", true) => "halted",
            ("Complete", true) => "ok",
            _ => "",
        };
        if condition.name == "Halted" && !condition.is {
            continue;
        }
        let words = safe(&condition.reason);
        // What is not so is told in numbers alone: its name would read as if it were.
        if !condition.is {
            write!(html, "<p>{words}</p>")?;
            continue;
        }
        write!(
            html,
            "<p class=\"{class}\"><b>{}</b>: {words}</p>",
            safe(&condition.name)
        )?;
    }
    html.push_str(
        "<h2>Groups</h2><table><tr><th>Group<th>Stage<th class=n>Hosts<th class=n>Done\
         <th class=n>Failed<th class=n>Slots<th class=n>Blackout, middle<th class=n>longest</tr>",
    );
    for group in &fleet.groups {
        write!(
            html,
            "<tr><td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{} of {}\
             <td class=n>{}<td class=n>{}</tr>",
            safe(&group.name),
            group.stage,
            group.hosts,
            group.done,
            group.failed,
            group.slots_taken,
            group.slots,
            seconds(group.blackout_median_us),
            seconds(group.blackout_max_us),
        )?;
    }
    html.push_str("</table>");
    picture(html, fleet)?;
    hosts(html, fleet)?;
    let at = moment(Some(fleet.now_ms));
    write!(
        html,
        "<p>{at}, revision {}</p></body></html>",
        fleet.revision
    )
}

fn hosts(html: &mut String, fleet: &Fleet) -> core::fmt::Result {
    html.push_str(
        "<h2>Hosts</h2><table><tr><th>Host<th>Group<th>State<th>Why<th>Since<th>Release\
         <th class=n>Blackout</tr>",
    );
    // Those that somebody should look at come first, and those that are done last.
    let rank = |host: &&Host| match host.state {
        HostState::Failed => 0,
        HostState::Updating => 1,
        HostState::Held => 2,
        HostState::Waiting => 3,
        HostState::Silent => 4,
        HostState::Done => 5,
    };
    let mut all: Vec<_> = fleet.hosts.iter().collect();
    all.sort_by_key(rank);
    for host in all.iter().take(LISTED) {
        let state = word(host.state);
        write!(
            html,
            "<tr><td>{}<td>{}<td class={state}>{state}<td>{}<td>{}<td>{}\
             <td class=n>{}</tr>",
            safe(&host.id),
            safe(&host.group),
            safe(host.why.as_deref().unwrap_or_default()),
            moment(host.slot_since_ms.or(host.done_ms)),
            safe(host.release.as_deref().unwrap_or_default()),
            seconds(host.blackout_us),
        )?;
    }
    html.push_str("</table>");
    match all.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(
            html,
            "<p>and {more} more; luoctl fleet status --json has all</p>"
        ),
    }
}

/// The rollout's picture: a line for each host that has begun, in the order in which they are
/// done; what is open is drawn up to now.
fn picture(html: &mut String, fleet: &Fleet) -> core::fmt::Result {
    let mut drawn: Vec<_> = fleet
        .hosts
        .iter()
        .filter_map(|host| Some((host.done_ms.or(host.slot_since_ms)?, host)))
        .collect();
    // Where there are too many, those that are at it or failed are drawn, and who was done last.
    let is_done = |host: &Host| host.slot_since_ms.is_none();
    drawn.sort_by_key(|(at, host)| (is_done(host), core::cmp::Reverse(*at)));
    let left_out = drawn.len().saturating_sub(DRAWN);
    drawn.truncate(DRAWN);
    drawn.sort_by_key(|(at, host)| (*at, &host.id));
    let Some((first, _)) = drawn.first() else {
        return Ok(());
    };
    let span = fleet.now_ms.saturating_sub(*first).max(1);
    let rows = i64::try_from(drawn.len()).unwrap_or(0);
    let height = rows.saturating_mul(ROW).saturating_add(ROW);
    write!(
        html,
        "<h2>Picture</h2><svg viewBox=\"0 0 {WIDTH} {height}\" role=img \
         aria-label=\"when each host was done\" font-size=10 font-family=sans-serif>"
    )?;
    for (row, (at, host)) in (0_i64..).zip(&drawn) {
        let x = 160 + at.saturating_sub(*first).saturating_mul(WIDTH - 180) / span;
        let y = row * ROW;
        let (colour, end) = match host.state {
            HostState::Failed => ("#b42318", WIDTH - 20),
            HostState::Updating => ("#b54708", WIDTH - 20),
            _ => ("#1a7f37", x + 6),
        };
        let wide = end.saturating_sub(x).max(6);
        let name: String = host.id.chars().take(26).collect();
        write!(
            html,
            "<text x=0 y={} fill=currentColor>{}</text><rect x={x} y={} width={wide} height=8 \
             fill=\"{colour}\"><title>{} {}</title></rect>",
            y + 11,
            safe(&name),
            y + 4,
            safe(&host.id),
            word(host.state),
        )?;
    }
    html.push_str("</svg>");
    match left_out {
        0 => Ok(()),
        more => write!(
            html,
            "<p>{more} more were done before, and are not drawn</p>"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: i64, state: HostState) -> Host {
        Host {
            id: format!("host-{number:04}"),
            group: "g".to_owned(),
            state,
            why: None,
            slot_since_ms: (state == HostState::Failed).then_some(number),
            done_ms: (state == HostState::Done).then_some(number),
            release: None,
            blackout_us: None,
        }
    }

    fn fleet(conditions: &[(&str, bool, &str)], hosts: Vec<Host>) -> Fleet {
        let condition =
            |(name, is, reason): &(&str, bool, &str)| luo_fleetlock::status::Condition {
                name: (*name).to_owned(),
                is: *is,
                reason: (*reason).to_owned(),
            };
        Fleet {
            version: 1,
            revision: 1,
            now_ms: 10_000,
            rollout: Some("r".to_owned()),
            target: None,
            conditions: conditions.iter().map(condition).collect(),
            groups: Vec::new(),
            hosts,
        }
    }

    #[test]
    fn what_is_not_so_is_not_named() {
        let html = page(&fleet(
            &[
                ("Complete", false, "2 of 3 hosts are done"),
                ("Progressing", true, "1 of 2"),
            ],
            Vec::new(),
        ));
        assert!(html.contains("2 of 3 hosts are done"), "{html}");
        assert!(
            !html.contains("<b>Complete</b>") && html.contains("<b>Progressing</b>"),
            "{html}"
        );
    }

    #[test]
    fn of_too_many_hosts_those_are_drawn_that_failed_and_the_rest_is_counted() {
        let mut hosts: Vec<_> = (1..=500).map(|at| host(at, HostState::Done)).collect();
        hosts.push(host(600, HostState::Failed));
        let html = page(&fleet(&[], hosts));
        let bars = html.matches("<rect").count();
        assert_eq!(bars, DRAWN);
        assert!(html.contains("<title>host-0600 failed"), "{html}");
        assert!(html.contains("<title>host-0500 ") && !html.contains("<title>host-0001 "));
        assert!(html.contains("101 more were done before"), "{html}");
    }

    #[test]
    fn what_hosts_say_is_text_and_nothing_else() {
        let evil = "<script>alert('\"&\")</script>\n";
        let fleet = Fleet {
            version: 1,
            revision: 1,
            now_ms: 2_000,
            rollout: Some(evil.to_owned()),
            target: None,
            conditions: Vec::new(),
            groups: Vec::new(),
            hosts: vec![Host {
                id: evil.to_owned(),
                group: evil.to_owned(),
                state: HostState::Failed,
                why: Some(evil.to_owned()),
                slot_since_ms: Some(1_000),
                done_ms: None,
                release: Some(evil.to_owned()),
                blackout_us: Some(1_500_000),
            }],
        };
        let html = page(&fleet);
        assert!(
            !html.contains("<script") && !html.contains("'\"&\""),
            "{html}"
        );
        assert!(html.contains("1.500 s") && html.contains("<svg"), "{html}");
    }
}
