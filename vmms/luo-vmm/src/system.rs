// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of `/dev/kvm`: what this KVM offers.

use std::os::fd::OwnedFd;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm};

use crate::exit::Error;
use crate::model;
use crate::vm::Vm;

/// What a guest cannot be carried without.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::Irqchip, "interrupt controllers in the kernel"),
    (Cap::Pit2, "a timer in the kernel"),
    (Cap::UserMemory, "memory of the process as RAM"),
    (Cap::ExtCpuid, "a processor with a model"),
    (Cap::AdjustClock, "a clock that can be set"),
    (Cap::GetTscKhz, "the frequency of the counter"),
];

/// KVM.
pub struct System {
    kvm: Kvm,
}

impl System {
    /// Opens `/dev/kvm`, and looks whether it has what is needed.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn open() -> Result<Self, Error> {
        let kvm = Kvm::new().map_err(Error::kvm("/dev/kvm"))?;
        for (cap, what) in NEEDED {
            if !kvm.check_extension(cap) {
                let source = std::io::ErrorKind::Unsupported.into();
                return Err(Error::Kvm { what, source });
            }
        }
        Ok(Self { kvm })
    }

    /// Makes a virtual machine without anything in it.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn create(&self) -> Result<Vm, Error> {
        let vm = self.kvm.create_vm().map_err(Error::kvm("KVM_CREATE_VM"))?;
        Ok(Vm::new(vm))
    }

    /// A virtual machine that has come over a jump.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn adopt(&self, fd: OwnedFd) -> Result<Vm, Error> {
        let vm = luo_sys::kvm::machine(&self.kvm, fd);
        Ok(Vm::new(vm.map_err(Error::call("the VM's descriptor"))?))
    }

    /// The processor of a number, of so many, that a guest is given at its first start.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn cpuid(&self, number: u8, count: u8) -> Result<CpuId, Error> {
        let offered = self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        let offered = offered.map_err(Error::kvm("KVM_GET_SUPPORTED_CPUID"))?;
        let entries = model::of(offered.as_slice(), number, count);
        CpuId::from_entries(&entries).map_err(|_| Error::Kvm {
            what: "CPUID",
            source: std::io::ErrorKind::ArgumentListTooLong.into(),
        })
    }

    /// The registers of a model that can be read and written.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn msrs(&self) -> Result<Vec<u32>, Error> {
        let list = self.kvm.get_msr_index_list();
        let list = list.map_err(Error::kvm("KVM_GET_MSR_INDEX_LIST"))?;
        Ok(list.as_slice().to_vec())
    }

    /// Whether the processor can scale a guest's counter to another frequency.
    #[must_use]
    pub fn scales(&self) -> bool {
        self.kvm.check_extension(Cap::TscControl)
    }
}
