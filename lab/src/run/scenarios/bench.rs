// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measurements.

use std::time::Duration;

use super::scenario;
use crate::build::variant::{Setup, Variant};
use crate::run::load::{Load, OF_THE_GATE};
use crate::run::scenario::{Clock, Expect, Processors, Scenario, When};

/// A measurement of a kernel under a load: of instructions, or of time.
#[must_use]
pub fn bench(variant: &'static str, load: &'static Load, clock: Clock) -> Scenario {
    let processors = match clock {
        Clock::Instructions => Processors::COUNTED,
        Clock::Host => Processors::TWO,
    };
    let (kind, when, mut args) = match clock {
        // The gate has kernels of tests only.
        Clock::Instructions if is_of_the_gate(variant, load) => ("count", When::Always, vec![]),
        Clock::Instructions => ("count", When::Asked, vec![]),
        Clock::Host => ("time", When::Asked, vec![format!("warm:{WARM}")]),
    };
    args.extend(load.args.iter().map(|&arg| arg.to_owned()));
    Scenario {
        args,
        // A line on an emulated serial port costs much; what is measured is the
        // orchestrator. The timer of the local interrupt controller does not pass the
        // kernel's test here, which takes most of the machine's time.
        cmdline: vec!["loglevel=4", "norandmaps", "nolapic_timer"],
        memory: 2048,
        timeout: Duration::from_secs(600),
        processors,
        load: Some(load),
        expect: Expect {
            cases: 0,
            named: &[],
            exactly: false,
            kexecs: Some(1),
        },
        when,
        cost: COST,
        ..scenario(
            &format!("{kind}-{variant}-{}", load.name),
            load.guest,
            "calls cost no more than they did",
        )
        .kexec(variant, variant)
    }
}

/// That of a small load, as the gate has it.
const COST: u32 = 2;

/// Sessions that go before those that are measured in real time.
const WARM: u64 = 64;

fn is_of_the_gate(variant: &str, load: &Load) -> bool {
    let setup = Variant::find(variant).map(|variant| variant.setup);
    load == OF_THE_GATE && matches!(setup, Ok(Setup::Test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::scenarios::{KEXECS, find};

    #[test]
    fn machines_that_count_have_one_processor() {
        let counted = bench("bench-c", OF_THE_GATE, Clock::Instructions);
        assert_eq!(
            (counted.name.as_str(), counted.when),
            ("count-bench-c-100x1", When::Asked)
        );
        let of_the_gate = find("count-rust-100x1", KEXECS).unwrap();
        assert_eq!(of_the_gate.processors.clock, Clock::Instructions);
        assert_eq!(of_the_gate.when, When::Always);
        assert!(
            of_the_gate
                .kernel_cmdline()
                .contains("luo.args=sessions:100")
        );
    }
}
