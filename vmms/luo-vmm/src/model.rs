// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor that a guest sees. It is a model of this program's, less what the host has not,
//! and it goes along in the state: a guest is not given another one in the middle of its run,
//! whatever the next kernel offers.
//!
//! The model is what each processor with 64 bits has, and what KVM adds for its guests. There is
//! no XSAVE in it: in nested virtualization under some emulators a guest that uses it does not
//! live long.

use kvm_bindings::kvm_cpuid_entry2;

/// The leaf of KVM's signature.
const KVM: u32 = 0x4000_0000;

/// The features, by leaf: what is left of EAX, EBX, ECX and EDX of what KVM offers.
const MODEL: [(u32, [u32; 4]); 7] = [
    // Vendor; the highest leaf is set below.
    (0, [!0; 4]),
    // SSE3, SSSE3, CX16, SSE4.1, SSE4.2, x2APIC, POPCNT, hypervisor; and in EDX what the first
    // processors with 64 bits had, up to SSE2. Machine checks are not among it: KVM's list of
    // registers leaves their banks out, so they would not come along.
    (1, [!0, !0, 0x80b8_2201, 0x078b_bb7f]),
    // KVM's signature, and of its features the clock, and that a wait for a port is none. Page
    // faults that are answered later have a state that nobody can read.
    (KVM, [!0; 4]),
    (KVM + 1, [0x0100_000b, 0, 0, 0]),
    // Vendor; SYSCALL, NX, long mode, LAHF.
    (0x8000_0000, [!0; 4]),
    (0x8000_0001, [!0, !0, 1, 0x2010_0800]),
    // The width of addresses.
    (0x8000_0008, [!0, 0, 0, 0]),
];

/// The highest basic leaf that the model has.
const HIGHEST: u32 = 1;

/// That a package has several processors.
const SEVERAL: u32 = 1 << 28;

/// The model, of what KVM offers, for the processor of a number, of so many.
#[must_use]
pub fn of(offered: &[kvm_cpuid_entry2], number: u8, count: u8) -> Vec<kvm_cpuid_entry2> {
    let leaf = |&(leaf, masks): &(u32, [u32; 4])| {
        let entry = offered.iter().find(|entry| entry.function == leaf)?;
        let [eax, ebx, ecx, edx] = masks;
        Some(kvm_cpuid_entry2 {
            eax: entry.eax & eax,
            ebx: entry.ebx & ebx,
            ecx: entry.ecx & ecx,
            edx: entry.edx & edx,
            ..*entry
        })
    };
    let mut entries: Vec<_> = MODEL.iter().filter_map(leaf).collect();
    for entry in &mut entries {
        match entry.function {
            0 => entry.eax = entry.eax.min(HIGHEST),
            // The number of the processor, and of how many.
            1 => {
                let (number, several) = (u32::from(number), u32::from(count));
                entry.ebx = (entry.ebx & 0x0000_ff00) | several << 16 | number << 24;
                entry.edx |= if count > 1 { SEVERAL } else { 0 };
            }
            KVM => entry.eax = entry.eax.clamp(KVM, KVM + 1),
            0x8000_0000 => entry.eax = entry.eax.min(0x8000_0008),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_sees_the_model_and_nothing_beside() {
        let offered = |function| kvm_cpuid_entry2 {
            function,
            eax: !0,
            ebx: !0,
            ecx: !0,
            edx: !0,
            ..kvm_cpuid_entry2::default()
        };
        let all = [
            0,
            1,
            7,
            0xd,
            KVM,
            KVM + 1,
            0x8000_0000,
            0x8000_0001,
            0x8000_000a,
        ];
        let entries = of(&all.map(offered), 0, 1);
        let leaves: Vec<_> = entries.iter().map(|entry| entry.function).collect();
        assert_eq!(leaves, [0, 1, KVM, KVM + 1, 0x8000_0000, 0x8000_0001]);
        assert_eq!(entries[0].eax, 1);
        // No XSAVE and no OSXSAVE, no AVX, no VMX, no deadline timer of the counter.
        for bit in [26, 27, 28, 5, 24] {
            assert_eq!(entries[1].ecx >> bit & 1, 0, "bit {bit}");
        }
        // No SVM.
        assert_eq!(entries[5].ecx, 1);
        // What is not offered is not there.
        assert_eq!(
            of(
                &[kvm_cpuid_entry2 {
                    function: 1,
                    ..Default::default()
                }],
                0,
                1
            )[0]
            .edx,
            0
        );
        // Each says which it is, and of how many.
        let second = of(&all.map(offered), 1, 2)[1];
        assert_eq!((second.ebx >> 16, second.edx >> 28 & 1), (0x0102, 1));
        assert_eq!(
            (entries[1].ebx >> 16, entries[1].edx >> 28 & 1),
            (0x0001, 0)
        );
    }
}
