// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests that take what not each machine has. They are `#[ignore]`d, so that whoever runs tests by
//! hand needs none of it; the gate runs them where it is there, and counts them as skipped where
//! it is not.

use std::process::{Command, Stdio};

/// One of them.
#[derive(Debug)]
pub(super) struct Test {
    /// Its name, without its module.
    pub(super) name: &'static str,
    /// What it takes, as its `#[ignore = "takes …"]` says: a program, `root`, or `qemu-cpr`, a
    /// QEMU with the migration mode `cpr-reboot`, or a program and `--all`, for what takes minutes.
    pub(super) what: &'static str,
}

/// What tests of guests take: a QEMU that can take them over an update. It is fetched.
pub(super) const QEMU: &str = "qemu-cpr";
/// And what those take that make network devices.
pub(super) const QEMU_AND_ROOT: &str = "qemu-cpr and root";

/// And what those take whose guest has RAM of huge pages.
pub(super) const QEMU_AND_HUGE_PAGES: &str = "qemu-cpr and huge pages";

/// systemd's client of Varlink: the guests' systemd has it.
pub(super) const VARLINKCTL: &str = "varlinkctl";

/// What tests of fleets take. It is fetched, too.
pub(super) const ETCD: &str = "etcd";
/// And what those take that last for minutes.
pub(super) const ETCD_AND_ALL: &str = "etcd and --all";

/// What reads rules of Prometheus: `--all` fetches it.
pub(super) const PROMTOOL: &str = "promtool";

/// All of them.
pub(super) const TESTS: [Test; 50] = [
    Test {
        name: "another_identity_gets_nothing",
        what: "root",
    },
    Test {
        name: "another_user_is_kept_out",
        what: "root",
    },
    Test {
        name: "the_workloads_count_where_memfds_are_not_executable",
        what: "root",
    },
    Test {
        name: "the_workload_in_go_counts_its_starts",
        what: "go",
    },
    Test {
        name: "varlinkctl_does_what_the_book_says",
        what: VARLINKCTL,
    },
    Test {
        name: "promtool_agrees_with_the_alerts",
        what: PROMTOOL,
    },
    Test {
        name: "a_browser_draws_the_picture",
        what: "chromium",
    },
    Test {
        name: "a_guest_goes_on_over_two_updates_and_its_ram_is_not_copied",
        what: QEMU,
    },
    Test {
        name: "a_veto_after_the_guest_was_stopped_lets_it_go_on",
        what: QEMU,
    },
    Test {
        name: "a_qemu_that_hangs_lets_the_update_fail_and_the_guest_go_on",
        what: QEMU,
    },
    Test {
        name: "a_qemu_that_is_killed_in_an_update_costs_nothing_that_stood_still",
        what: QEMU,
    },
    Test {
        name: "luo_qemu_is_killed_at_each_step_before_the_jump",
        what: QEMU,
    },
    Test {
        name: "luo_qemu_is_killed_at_each_step_after_the_jump",
        what: QEMU,
    },
    Test {
        name: "what_cannot_survive_is_refused_before_the_jump",
        what: QEMU,
    },
    Test {
        name: "an_upgraded_qemu_that_refuses_the_state_gives_way_to_the_one_that_wrote_it",
        what: QEMU,
    },
    Test {
        name: "each_end_of_a_guest_is_told",
        what: QEMU,
    },
    Test {
        name: "two_guests_that_talk_stand_still_together_and_go_on_talking",
        what: QEMU,
    },
    Test {
        name: "two_guests_at_tap_devices_go_on_talking",
        what: QEMU_AND_ROOT,
    },
    Test {
        name: "the_command_line_of_the_book_survives_as_it_stands_there",
        what: QEMU,
    },
    Test {
        name: "a_guest_of_huge_pages_goes_on_over_two_updates",
        what: QEMU_AND_HUGE_PAGES,
    },
    Test {
        name: "a_guest_reads_after_an_update_what_it_wrote_to_its_disks_before",
        what: QEMU,
    },
    Test {
        name: "a_guest_with_two_processors_goes_on_over_two_updates",
        what: QEMU,
    },
    Test {
        name: "a_guest_with_two_nodes_goes_on_over_two_updates",
        what: QEMU,
    },
    Test {
        name: "devices_with_much_memory_of_their_own_have_room_for_it",
        what: QEMU,
    },
    Test {
        name: "a_damaged_state_is_refused_and_the_memory_stays",
        what: QEMU,
    },
    Test {
        name: "a_browser_draws_the_page_of_a_fleet",
        what: "chromium",
    },
    Test {
        name: "fleetlock_is_served_as_its_text_has_it",
        what: ETCD,
    },
    Test {
        name: "a_browser_looks_with_a_token_as_its_password",
        what: ETCD,
    },
    Test {
        name: "another_release_is_another_rollout",
        what: ETCD,
    },
    Test {
        name: "who_runs_the_release_already_is_done",
        what: ETCD,
    },
    Test {
        name: "what_is_not_known_is_not_told",
        what: ETCD,
    },
    Test {
        name: "by_hand_names_host_and_reason_and_is_logged",
        what: ETCD,
    },
    Test {
        name: "servers_that_decide_at_once_give_no_slot_too_many",
        what: ETCD,
    },
    Test {
        name: "ten_hosts_with_one_of_each_fault",
        what: ETCD,
    },
    Test {
        name: "a_flood_of_hosts_is_refused_and_those_that_are_known_are_served",
        what: ETCD,
    },
    Test {
        name: "tls_that_is_not_agreed_on_keeps_nobody_out",
        what: ETCD,
    },
    Test {
        name: "connections_that_say_nothing_keep_nobody_out",
        what: ETCD,
    },
    Test {
        name: "what_is_too_long_or_too_slow_is_refused_with_its_reason",
        what: ETCD,
    },
    Test {
        name: "dev_shows_a_rollout_and_one_that_halts",
        what: ETCD,
    },
    Test {
        name: "dev_leaves_nothing_however_it_ends",
        what: ETCD,
    },
    Test {
        name: "a_member_that_is_cut_off_from_its_peers_costs_no_slot",
        what: ETCD,
    },
    Test {
        name: "what_a_host_tells_another_server_is_seen_though_the_watch_is_dead",
        what: ETCD,
    },
    Test {
        name: "a_slot_comes_back_though_the_watch_is_dead",
        what: ETCD,
    },
    Test {
        name: "each_host_is_answered_in_time_though_nothing_can_be_changed",
        what: ETCD,
    },
    Test {
        name: "hosts_that_ask_cost_etcd_nothing_and_a_slot_costs_a_transaction",
        what: ETCD,
    },
    Test {
        name: "each_speaks_for_itself_and_only_administrators_act",
        what: ETCD,
    },
    Test {
        name: "luoctl_shows_a_fleet_and_does_by_hand_what_is_to_be_done",
        what: ETCD,
    },
    Test {
        name: "ten_luods_roll_out_with_one_of_each_fault",
        what: ETCD,
    },
    Test {
        name: "fifty_luods_roll_out_while_members_servers_and_wires_die",
        what: ETCD_AND_ALL,
    },
    Test {
        name: "fifty_hosts_roll_out_while_members_and_servers_die",
        what: ETCD_AND_ALL,
    },
];

/// Whether this machine has the huge pages that guests of tests take, and nobody else.
pub(super) fn has_huge_pages() -> bool {
    const WANTED: u64 = 128;
    let pool = std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
    let number = |name| {
        let text = std::fs::read_to_string(pool.join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let free = number("free_hugepages").zip(number("resv_hugepages"));
    free.is_some_and(|(free, reserved)| free.saturating_sub(reserved) >= WANTED)
}

/// Whether this machine has what a test takes, if it is nothing that is fetched.
pub(super) fn is_there(what: &str) -> bool {
    let quiet = |command: &mut Command| {
        let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|ended| ended.success())
    };
    match what {
        // What root may is not had in each container.
        "root" => quiet(Command::new("unshare").args(["--pid", "--fork", "true"])),
        "go" => quiet(Command::new(what).arg("version")),
        program => quiet(Command::new(program).arg("--version")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::documents::{files, read};

    /// Whatever is ignored is run by the gate, and the gate knows what it takes.
    #[test]
    fn each_ignored_test_is_known() {
        let mut found = BTreeSet::new();
        for path in files("", &["rs"]) {
            let text = read(&path);
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                // What stands in a string with others in one line is no attribute.
                if !line.starts_with("#[ignore") || line.contains(r"\n") {
                    continue;
                }
                let what = line
                    .strip_prefix("#[ignore = \"takes ")
                    .and_then(|rest| rest.strip_suffix("\"]"));
                let what = what.unwrap_or_else(|| panic!("{path}: {line}"));
                let next = lines.next().unwrap();
                let name = next
                    .trim_start_matches("async ")
                    .strip_prefix("fn ")
                    .and_then(|rest| rest.split('(').next());
                found.insert((name.unwrap().to_owned(), what.to_owned()));
            }
        }
        let known = TESTS
            .iter()
            .map(|test| (test.name.to_owned(), test.what.to_owned()));
        assert_eq!(found, known.collect());
    }
}
