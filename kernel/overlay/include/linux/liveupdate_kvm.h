/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_LIVEUPDATE_KVM_H
#define _LINUX_LIVEUPDATE_KVM_H

/*
 * What KVM, which may be a module, and its handlers in kernel/liveupdate/rust, which are built
 * in, know of each other. KVM looks at its files and makes them; what is done with that is the
 * handlers'. A file of KVM's keeps the module, and so does the orchestrator while it calls.
 */
#include <linux/rwsem.h>
#include <linux/types.h>

struct file;
struct file_operations;
struct kvm;
struct kvm_enable_cap;
struct module;

/* What KVM_ENABLE_CAP was told: byte by byte a luo_abi::note::Capability. */
struct luo_kvm_call {
	u32 cap;
	u32 flags;
	u64 args[4];
};

/* luo_abi::note::MOST_CAPABILITIES. */
#define LUO_KVM_CALLS 32

/* luo_abi::note::IRQCHIP, PIT and PIT_SPEAKER. */
#define LUO_KVM_IRQCHIP 1
#define LUO_KVM_PIT 2
#define LUO_KVM_PIT_SPEAKER 4

/* A virtual machine. */
struct luo_kvm_machine {
	u64 kind;
	u64 identity;
	u64 devices;
};

/* Memory of one: which machine's it is, as a number, and what it was made with. */
struct luo_kvm_memory {
	u64 machine;
	u64 identity;
	u64 flags;
	/* It is shared with the host, and so is all memory of the machine. */
	bool is_shared;
};

/*
 * Files are those of the operations that are named here, and open; a @machine may be one that
 * is being made, and that nobody else has.
 */
struct luo_kvm_ops {
	struct module *owner;
	const struct file_operations *machines;
	const struct file_operations *memory;

	/* -EOPNOTSUPP for a machine that cannot be made anew; -EIO for one that is dead. */
	int (*look)(struct file *machine, struct luo_kvm_machine *what);
	/* Writes its calls, in order, to room for LUO_KVM_CALLS; how many there are. */
	unsigned int (*calls)(struct file *machine, struct luo_kvm_call *room);
	/* As KVM_CREATE_VM makes it. It is the process's that calls KVM with it first. */
	struct file *(*make)(u64 kind, u64 identity);
	int (*repeat)(struct file *machine, const struct luo_kvm_call *call);
	int (*furnish)(struct file *machine, u64 devices);

	void (*look_memory)(struct file *memory, struct luo_kvm_memory *what);
	/* No page goes from now on; false if somebody is at it. */
	bool (*hold)(struct file *memory);
	void (*let_go)(struct file *memory);
	/* No page comes from now on. That is so when is_still() says so. */
	void (*freeze)(struct file *memory);
	bool (*is_still)(struct file *memory);
	void (*thaw)(struct file *memory);
	struct file *(*make_memory)(struct file *machine, u64 size, u64 flags);
};

#ifdef CONFIG_LIVEUPDATE_KVM_RUST

/* kernel/liveupdate/rust/sys/kvm.rs. The table stays until it is taken back. */
int luo_kvm_register(const struct luo_kvm_ops *ops);
void luo_kvm_unregister(void);

/* Within KVM: what it notes of each machine. */
struct luo_kvm_notes {
	/* The calls; NULL as long as there are none. */
	struct luo_kvm_calls *calls;
	/* 0 until somebody asks. */
	u64 identity;
	/* There were more calls than are noted. */
	bool is_incomplete;
	/* It was made for a live update, and nobody has called KVM with it. */
	bool is_unclaimed;
};

/* arch/x86/kvm/luo_kvm.c. */
void luo_kvm_begin(struct module *module);
void luo_kvm_end(void);
void luo_kvm_note_call(struct kvm *kvm, const struct kvm_enable_cap *cap);
u64 luo_kvm_identity(struct kvm *kvm);

/* virt/kvm/kvm_main.c. */
const struct file_operations *luo_kvm_machines(void);
struct file *luo_kvm_make(u64 kind, u64 identity);
int luo_kvm_repeat(struct file *machine, const struct luo_kvm_call *call);

/* virt/kvm/guest_memfd.c. */
void luo_kvm_add_memory_ops(struct luo_kvm_ops *ops);

/* Within KVM: how memory of a machine is held. */
struct luo_kvm_hold {
	/* Whoever brings a page in has it for reading. */
	struct rw_semaphore filling;
	/* No page goes. */
	bool is_held;
	/* No page comes. */
	bool is_frozen;
};

static inline void luo_kvm_init_hold(struct luo_kvm_hold *hold)
{
	init_rwsem(&hold->filling);
	hold->is_held = false;
	hold->is_frozen = false;
}

static inline bool luo_kvm_is_held(const struct luo_kvm_hold *hold)
{
	return READ_ONCE(hold->is_held);
}

/* False if no page may come; otherwise luo_kvm_end_filling() follows. */
static inline bool luo_kvm_begin_filling(struct luo_kvm_hold *hold)
{
	down_read(&hold->filling);
	if (likely(!READ_ONCE(hold->is_frozen)))
		return true;
	up_read(&hold->filling);
	return false;
}

static inline void luo_kvm_end_filling(struct luo_kvm_hold *hold)
{
	up_read(&hold->filling);
}

#else /* CONFIG_LIVEUPDATE_KVM_RUST */

struct luo_kvm_notes {
};

struct luo_kvm_hold {
};

static inline void luo_kvm_begin(struct module *module)
{
}

static inline void luo_kvm_end(void)
{
}

static inline void luo_kvm_note_call(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
}

static inline void luo_kvm_init_hold(struct luo_kvm_hold *hold)
{
}

static inline bool luo_kvm_is_held(const struct luo_kvm_hold *hold)
{
	return false;
}

static inline bool luo_kvm_begin_filling(struct luo_kvm_hold *hold)
{
	return true;
}

static inline void luo_kvm_end_filling(struct luo_kvm_hold *hold)
{
}

#endif /* CONFIG_LIVEUPDATE_KVM_RUST */
#endif /* _LINUX_LIVEUPDATE_KVM_H */
