// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of the orchestrator that C macros force: boot parameters, two
 * initcalls, the attributes in sysfs, the in-kernel test's hook, which is an
 * inline function when the test is not built, a look at the image that is
 * loaded, which is a bit field behind a lock of kexec's own, the control group
 * that memory is charged to, a limit on lines of the log, and the exports to
 * modules of what is in Rust.
 */
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/liveupdate.h>
#include <linux/liveupdate_files.h>
#include <linux/liveupdate_kvm.h>
#include <linux/liveupdate_subsystem.h>
#include <linux/memcontrol.h>
#include <linux/ratelimit.h>
#include <linux/sched/mm.h>
#include <linux/sysfs.h>

#include "../../kexec_internal.h"
#include "../luo_internal.h"
#include "luo_shim.h"

/*
 * What handlers in Rust read, by name. Whoever looks into an image for that looks for words that
 * end, and Rust's do not.
 */
static const char luo_shim_formats[] __used =
#ifdef CONFIG_EVENTFD
	"luo-eventfd-v1\0"
#endif
#ifdef CONFIG_TIMERFD
	"luo-timerfd-v1\0"
#endif
#ifdef CONFIG_LIVEUPDATE_KVM_RUST
	"luo-kvm-vm-v1\0"
	"luo-guest-memfd-v1\0"
#endif
	"luo-pipe-v1";

/* What a driver calls, which may be a module: the functions are in sys/exports.rs. */
EXPORT_SYMBOL_GPL(liveupdate_enabled);
EXPORT_SYMBOL_GPL(liveupdate_register_file_handler);
EXPORT_SYMBOL_GPL(liveupdate_unregister_file_handler);
EXPORT_SYMBOL_GPL(liveupdate_get_token_outgoing);
EXPORT_SYMBOL_GPL(liveupdate_get_file_incoming);
EXPORT_SYMBOL_GPL(liveupdate_register_flb);
EXPORT_SYMBOL_GPL(liveupdate_unregister_flb);
EXPORT_SYMBOL_GPL(liveupdate_flb_get_incoming);
EXPORT_SYMBOL_GPL(liveupdate_flb_put_incoming);
EXPORT_SYMBOL_GPL(liveupdate_flb_get_outgoing);
EXPORT_SYMBOL_GPL(liveupdate_flb_put_outgoing);
EXPORT_SYMBOL_GPL(liveupdate_register_subsystem);
EXPORT_SYMBOL_GPL(liveupdate_unregister_subsystem);
EXPORT_SYMBOL_GPL(liveupdate_get_subsystem_data);
EXPORT_SYMBOL_GPL(liveupdate_handed_page);
EXPORT_SYMBOL_GPL(liveupdate_free_handed_page);
#ifdef CONFIG_LIVEUPDATE_KVM_RUST
EXPORT_SYMBOL_GPL(luo_kvm_register);
EXPORT_SYMBOL_GPL(luo_kvm_unregister);
#endif

static int __init luo_shim_parameter(char *value)
{
	bool on;
	int err = kstrtobool(value, &on);

	if (!err)
		luo_rust_enable(on);
	return err;
}
early_param("liveupdate", luo_shim_parameter);

#define LUO_SHIM_PARAMETER(_name, _choice)					\
static int __init luo_shim_##_name##_parameter(char *value)			\
{										\
	return luo_rust_set_choice(_choice, value);				\
}										\
early_param("liveupdate_" #_name, luo_shim_##_name##_parameter)

LUO_SHIM_PARAMETER(unclaimed, LUO_CHOICE_UNCLAIMED);
LUO_SHIM_PARAMETER(reboot, LUO_CHOICE_REBOOT);
LUO_SHIM_PARAMETER(legacy, LUO_CHOICE_LEGACY);
LUO_SHIM_PARAMETER(openers, LUO_CHOICE_OPENERS);
LUO_SHIM_PARAMETER(open, LUO_CHOICE_OPEN);
LUO_SHIM_PARAMETER(unowned, LUO_CHOICE_UNOWNED);
LUO_SHIM_PARAMETER(memfd, LUO_CHOICE_MEMFD);
LUO_SHIM_PARAMETER(user_kinds, LUO_CHOICE_USER_KINDS);

static int __init luo_shim_user_parameter(char *value)
{
	return luo_rust_set_users(LUO_SHIM_EACH_USER, value);
}
early_param("liveupdate_user", luo_shim_user_parameter);

static int __init luo_shim_users_parameter(char *value)
{
	return luo_rust_set_users(LUO_SHIM_ALL_USERS, value);
}
early_param("liveupdate_users", luo_shim_users_parameter);

static int __init luo_shim_patience_parameter(char *value)
{
	return luo_rust_set_patience(value);
}
early_param("liveupdate_patience", luo_shim_patience_parameter);

/* Drivers ask for handed-over FLBs in their own initcalls: be before them. */
early_initcall(luo_rust_early_init);
late_initcall(luo_rust_late_init);

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *page)
{
	return luo_rust_show_state(page);
}
static struct kobj_attribute luo_shim_state = __ATTR_RO(state);

static ssize_t update_count_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *page)
{
	return luo_rust_show_update_count(page);
}
static struct kobj_attribute luo_shim_update_count = __ATTR_RO(update_count);

/* An attribute that Rust knows as number _which of its kind. */
#define LUO_SHIM_ATTRIBUTE(_name, _kind, _which)				\
static ssize_t _name##_show(struct kobject *kobj,				\
			    struct kobj_attribute *attr, char *page)		\
{										\
	return luo_rust_show_##_kind(_which, page);				\
}										\
										\
static ssize_t _name##_store(struct kobject *kobj,				\
			     struct kobj_attribute *attr, const char *text,	\
			     size_t count)					\
{										\
	return luo_rust_store_##_kind(_which, text, count);			\
}										\
static struct kobj_attribute luo_shim_##_name = __ATTR_RW(_name)

LUO_SHIM_ATTRIBUTE(unclaimed, choice, LUO_CHOICE_UNCLAIMED);
LUO_SHIM_ATTRIBUTE(reboot, choice, LUO_CHOICE_REBOOT);
LUO_SHIM_ATTRIBUTE(legacy, choice, LUO_CHOICE_LEGACY);
LUO_SHIM_ATTRIBUTE(memfd, choice, LUO_CHOICE_MEMFD);
LUO_SHIM_ATTRIBUTE(user_kinds, choice, LUO_CHOICE_USER_KINDS);
LUO_SHIM_ATTRIBUTE(user_sessions, user, LUO_SHIM_USER_SESSIONS);
LUO_SHIM_ATTRIBUTE(user_files, user, LUO_SHIM_USER_FILES);
LUO_SHIM_ATTRIBUTE(user_dependencies, user, LUO_SHIM_USER_DEPENDENCIES);
LUO_SHIM_ATTRIBUTE(user_bytes, user, LUO_SHIM_USER_BYTES);
LUO_SHIM_ATTRIBUTE(users_sessions, user, LUO_SHIM_USERS_SESSIONS);
LUO_SHIM_ATTRIBUTE(users_files, user, LUO_SHIM_USERS_FILES);
LUO_SHIM_ATTRIBUTE(users_dependencies, user, LUO_SHIM_USERS_DEPENDENCIES);
LUO_SHIM_ATTRIBUTE(users_bytes, user, LUO_SHIM_USERS_BYTES);

static ssize_t image_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *page)
{
	return luo_rust_show_image(page);
}
/*
 * A look takes the lock of kexec, which kexec itself only tries: who may read this can
 * make a reboot fail.
 */
static struct kobj_attribute luo_shim_image = __ATTR_RO_MODE(image, 0400);

static struct attribute *luo_shim_attributes[] = {
	&luo_shim_state.attr,
	&luo_shim_update_count.attr,
	&luo_shim_unclaimed.attr,
	&luo_shim_reboot.attr,
	&luo_shim_user_kinds.attr,
	&luo_shim_user_sessions.attr,
	&luo_shim_user_files.attr,
	&luo_shim_user_dependencies.attr,
	&luo_shim_user_bytes.attr,
	&luo_shim_users_sessions.attr,
	&luo_shim_users_files.attr,
	&luo_shim_users_dependencies.attr,
	&luo_shim_users_bytes.attr,
	&luo_shim_legacy.attr,
	&luo_shim_memfd.attr,
	&luo_shim_image.attr,
	NULL,
};

static const struct attribute_group luo_shim_group = {
	.attrs = luo_shim_attributes,
};

/* /sys/kernel/liveupdate, written once at boot; NULL without it. */
static struct kobject *luo_shim_folder;

int luo_shim_create_sysfs(void)
{
	struct kobject *folder;
	int err;

	folder = kobject_create_and_add("liveupdate", kernel_kobj);
	if (!folder)
		return -ENOMEM;

	err = sysfs_create_group(folder, &luo_shim_group);
	if (err) {
		kobject_put(folder);
		return err;
	}

	luo_shim_folder = folder;
	return 0;
}

void luo_shim_notify_state(void)
{
	if (luo_shim_folder)
		sysfs_notify(luo_shim_folder, NULL, "state");
}

/* The caller holds the lock of kexec. */
enum luo_image luo_shim_image_to_boot(void)
{
	if (!kexec_image)
		return LUO_IMAGE_NONE;
	return kexec_image->file_mode ? LUO_IMAGE_HANDOVER : LUO_IMAGE_LEGACY;
}

enum luo_image luo_shim_image_now(void)
{
	enum luo_image image;

	if (!kexec_trylock())
		return LUO_IMAGE_BUSY;
	image = luo_shim_image_to_boot();
	kexec_unlock();
	return image;
}

/*
 * Pages that the previous kernel preserved are given away by one task at a time, which is none
 * of a user's: see luo_line.c.
 */
static DEFINE_MUTEX(luo_shim_handed);

void luo_shim_lock_handed(void)
{
	mutex_lock(&luo_shim_handed);
}

void luo_shim_unlock_handed(void)
{
	mutex_unlock(&luo_shim_handed);
}

/* What was charged before goes back to luo_shim_charge_again(). */
struct mem_cgroup *luo_shim_charge_machine(void)
{
	return set_active_memcg(root_mem_cgroup);
}

void luo_shim_charge_again(struct mem_cgroup *before)
{
	set_active_memcg(before);
}

/*
 * Whether one more line goes into the log of those that a program can cause: as
 * many in as long a time as luo_calls says (LINES, LINES_SECONDS), of what is
 * users', and of all else.
 */
bool luo_shim_may_say_more(bool of_users)
{
	static DEFINE_RATELIMIT_STATE(lines_of_users, 10 * HZ, 32);
	static DEFINE_RATELIMIT_STATE(lines, 10 * HZ, 32);

	return __ratelimit(of_users ? &lines_of_users : &lines);
}

void luo_shim_test_register(struct liveupdate_file_handler *fh)
{
	liveupdate_test_register(fh);
}
