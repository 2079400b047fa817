/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_SHIM_H
#define _LUO_SHIM_H

#include <linux/types.h>

struct liveupdate_file_handler;
struct mem_cgroup;
struct workqueue_struct;

/* What is loaded for the next kexec. */
enum luo_image {
	LUO_IMAGE_NONE,
	/* By kexec_file_load: it takes over what is preserved. */
	LUO_IMAGE_HANDOVER,
	/* By kexec_load: it takes nothing over. */
	LUO_IMAGE_LEGACY,
	/* Somebody loads one right now. */
	LUO_IMAGE_BUSY,
};

/* What an administrator chooses by one of two words. */
enum luo_choice {
	LUO_CHOICE_UNCLAIMED,
	LUO_CHOICE_REBOOT,
	LUO_CHOICE_LEGACY,
	LUO_CHOICE_OPENERS,
	LUO_CHOICE_OPEN,
	LUO_CHOICE_UNOWNED,
	LUO_CHOICE_MEMFD,
	LUO_CHOICE_USER_KINDS,
};

/* From C, for Rust. */
void luo_shim_test_register(struct liveupdate_file_handler *fh);
int luo_shim_create_sysfs(void);
void luo_shim_notify_state(void);
enum luo_image luo_shim_image_to_boot(void);
enum luo_image luo_shim_image_now(void);
void luo_shim_lock_handed(void);
void luo_shim_unlock_handed(void);
struct mem_cgroup *luo_shim_charge_machine(void);
void luo_shim_charge_again(struct mem_cgroup *before);
bool luo_shim_may_say_more(bool of_users);

/* Lines of users' steps: sixteen, and one of those who open the device (luo_line.c). */
#define LUO_SHIM_LINES 17
#define LUO_SHIM_LINE_OF_OPENS 16
typedef void (*luo_shim_step)(void *data);
/* Makes the workers of the lines, and this one. Called once, before anybody can call. */
int luo_shim_set_up_lines(void);
extern struct workqueue_struct *luo_shim_waker;
unsigned int luo_shim_who_answers(void);
bool luo_shim_run_in_line(unsigned int line, unsigned int user, long patience,
			  luo_shim_step run, void *data);

/* From Rust, for C: boot. A parameter without a value is NULL. */
void luo_rust_enable(bool on);
int luo_rust_set_choice(unsigned int choice, const char *word);
int luo_rust_set_users(unsigned int whom, const char *text);
int luo_rust_set_patience(const char *text);
int luo_rust_early_init(void);
int luo_rust_late_init(void);

/* From Rust, for C: sysfs. */
ssize_t luo_rust_show_state(char *page);
ssize_t luo_rust_show_update_count(char *page);
ssize_t luo_rust_show_image(char *page);
ssize_t luo_rust_show_choice(unsigned int choice, char *page);
ssize_t luo_rust_store_choice(unsigned int choice, const char *text, size_t count);

/* Whom quotas bound; in the order of luo_core's Whom::ALL. */
enum luo_shim_whom {
	LUO_SHIM_EACH_USER,
	LUO_SHIM_ALL_USERS,
};

/* What they may have; for each of those in the order of luo_core's Quota::ALL. */
enum luo_shim_quota {
	LUO_SHIM_USER_SESSIONS,
	LUO_SHIM_USER_FILES,
	LUO_SHIM_USER_DEPENDENCIES,
	LUO_SHIM_USER_BYTES,
	LUO_SHIM_USERS_SESSIONS,
	LUO_SHIM_USERS_FILES,
	LUO_SHIM_USERS_DEPENDENCIES,
	LUO_SHIM_USERS_BYTES,
};
ssize_t luo_rust_show_user(unsigned int quota, char *page);
ssize_t luo_rust_store_user(unsigned int quota, const char *text, size_t count);

#endif /* _LUO_SHIM_H */
