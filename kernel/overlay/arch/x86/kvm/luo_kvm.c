// SPDX-License-Identifier: GPL-2.0-only
/*
 * What live update asks of KVM: what a virtual machine was set up with, and to set one up like
 * that. How it is set up is told by the calls of KVM_ENABLE_CAP that have succeeded, and done by
 * the same calls: so each of them is checked as any program's is, and a kernel that does not know
 * one says so.
 */
#include <linux/kvm_host.h>
#include <linux/liveupdate_kvm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "i8254.h"
#include "irq.h"
#include "x86.h"

struct luo_kvm_calls {
	unsigned int count;
	struct luo_kvm_call calls[LUO_KVM_CALLS];
};

/* Protects the notes of all machines, for as long as it takes to copy those of one. */
static DEFINE_SPINLOCK(luo_kvm_lock);

/*
 * A call of KVM_ENABLE_CAP has succeeded. Where one is repeated the last time counts: another
 * one may have been undone by it.
 */
void luo_kvm_note_call(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
	struct luo_kvm_call call = { .cap = cap->cap, .flags = cap->flags };
	struct luo_kvm_notes *notes = &kvm->luo;
	struct luo_kvm_calls *new = NULL;
	struct luo_kvm_calls *calls;
	unsigned int i = 0;

	BUILD_BUG_ON(sizeof(call.args) != sizeof(cap->args));
	memcpy(call.args, cap->args, sizeof(call.args));
	if (!READ_ONCE(notes->calls))
		new = kzalloc_obj(*new, GFP_KERNEL_ACCOUNT);
	spin_lock(&luo_kvm_lock);
	if (!notes->calls) {
		WRITE_ONCE(notes->calls, new);
		new = NULL;
	}
	calls = notes->calls;
	while (calls && i < calls->count &&
	       memcmp(&calls->calls[i], &call, sizeof(call)))
		i++;
	if (!calls || i == LUO_KVM_CALLS) {
		notes->is_incomplete = true;
	} else {
		if (i < calls->count) {
			calls->count--;
			memmove(&calls->calls[i], &calls->calls[i + 1],
				(calls->count - i) * sizeof(call));
		}
		calls->calls[calls->count++] = call;
	}
	spin_unlock(&luo_kvm_lock);
	kfree(new);
}

/* What of a machine's devices is in the kernel. None that is there ever goes. */
static u64 luo_kvm_devices(struct kvm *kvm)
{
	u64 devices = 0;
#ifdef CONFIG_KVM_IOAPIC
	struct kvm_pit *pit = READ_ONCE(kvm->arch.vpit);

	if (pic_in_kernel(kvm))
		devices |= LUO_KVM_IRQCHIP;
	if (pit)
		devices |= LUO_KVM_PIT;
	if (pit && pit->speaker_dev.ops)
		devices |= LUO_KVM_PIT_SPEAKER;
#endif
	return devices;
}

/* Whether the host can see all memory of a machine, and all state of its processors. */
static bool luo_kvm_is_open(struct kvm *kvm)
{
	return !kvm_arch_has_private_mem(kvm) && !kvm->arch.has_protected_state &&
	       !test_bit(APICV_INHIBIT_REASON_SEV, &kvm->arch.apicv_inhibit_reasons);
}

/* The number of a machine, which it gets when somebody asks first. */
u64 luo_kvm_identity(struct kvm *kvm)
{
	struct luo_kvm_notes *notes = &kvm->luo;
	u64 identity = get_random_u64() | 1;

	spin_lock(&luo_kvm_lock);
	if (!notes->identity)
		notes->identity = identity;
	identity = notes->identity;
	spin_unlock(&luo_kvm_lock);
	return identity;
}

static int luo_kvm_look(struct file *machine, struct luo_kvm_machine *what)
{
	struct kvm *kvm = machine->private_data;

	if (READ_ONCE(kvm->vm_dead) || READ_ONCE(kvm->vm_bugged))
		return -EIO;
	if (READ_ONCE(kvm->luo.is_incomplete) || !luo_kvm_is_open(kvm))
		return -EOPNOTSUPP;
	what->kind = kvm->arch.vm_type;
	what->identity = luo_kvm_identity(kvm);
	what->devices = luo_kvm_devices(kvm);
	return 0;
}

static unsigned int luo_kvm_calls(struct file *machine, struct luo_kvm_call *room)
{
	struct kvm *kvm = machine->private_data;
	struct luo_kvm_calls *calls;
	unsigned int count = 0;

	spin_lock(&luo_kvm_lock);
	calls = kvm->luo.calls;
	if (calls) {
		count = calls->count;
		memcpy(room, calls->calls, count * sizeof(*room));
	}
	spin_unlock(&luo_kvm_lock);
	return count;
}

/* Makes devices of a machine that nobody else has. */
static int luo_kvm_furnish(struct file *machine, u64 devices)
{
	int err = 0;

	if (devices & LUO_KVM_IRQCHIP)
		err = kvm_arch_vm_ioctl(machine, KVM_CREATE_IRQCHIP, 0);
	if (err)
		return err;
	if (devices & LUO_KVM_PIT) {
#ifdef CONFIG_KVM_IOAPIC
		struct kvm *kvm = machine->private_data;
		u32 flags = devices & LUO_KVM_PIT_SPEAKER ? KVM_PIT_SPEAKER_DUMMY : 0;

		mutex_lock(&kvm->lock);
		kvm->arch.vpit = kvm_create_pit(kvm, flags);
		if (!kvm->arch.vpit)
			err = -ENOMEM;
		mutex_unlock(&kvm->lock);
#else
		err = -ENOTTY;
#endif
	}
	return err;
}

static struct luo_kvm_ops luo_kvm_ops = {
	.look = luo_kvm_look,
	.calls = luo_kvm_calls,
	.make = luo_kvm_make,
	.repeat = luo_kvm_repeat,
	.furnish = luo_kvm_furnish,
};

/* KVM is there. Without its handlers it works as well, so nobody is told of an error. */
void luo_kvm_begin(struct module *module)
{
	luo_kvm_ops.owner = module;
	luo_kvm_ops.machines = luo_kvm_machines();
	luo_kvm_add_memory_ops(&luo_kvm_ops);
	luo_kvm_register(&luo_kvm_ops);
}

void luo_kvm_end(void)
{
	luo_kvm_unregister();
}
