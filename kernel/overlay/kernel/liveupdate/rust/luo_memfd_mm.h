/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LUO_MEMFD_MM_H
#define _LUO_MEMFD_MM_H

#include <linux/liveupdate.h>
#include <linux/types.h>

#include "luo_guest_mm.h"

struct address_space;
struct file;
struct hugetlb_cgroup;
struct mem_cgroup;

/* Pages that follow each other in the file and in memory; luo_memfd::Run. */
struct luo_memfd_run {
	u64 index;
	u64 frame;
	u64 pages;
	u32 order;
	u32 state;
};

/* What a run is like. */
enum luo_memfd_state {
	/* It holds what somebody has written. */
	LUO_MEMFD_WRITTEN,
	/* It was allocated, and is to be read as zeros. */
	LUO_MEMFD_FRESH,
	/* It is swapped out, locked, or where nothing can stay: see luo_memfd_bring(). */
	LUO_MEMFD_AWAY,
	/* Its memory is broken. */
	LUO_MEMFD_BROKEN,
};

struct luo_memfd_time {
	s64 seconds;
	u32 nanoseconds;
};

/* The rooms of two strings, which are terminated. */
#define LUO_MEMFD_NAME 256
#define LUO_MEMFD_GROUP 512

/* luo_memfd::Facts and More. */
struct luo_memfd_facts {
	u64 size;
	u64 position;
	u32 seals;
	u32 flags;
	u32 mode;
	u32 uid;
	u32 gid;
	/* The order of each page, 0 for a file of small ones. */
	u32 huge;
	struct luo_memfd_time access;
	struct luo_memfd_time modification;
	struct luo_memfd_time change;
	struct luo_memfd_time birth;
};

/* Who may pay for most of the pages that were looked at: luo_memfd_vote(). */
struct luo_memfd_payer {
	/* A page that it pays for; 0 if there is none yet. */
	u64 frame;
	/* By so many pages it is ahead of others. */
	u64 ahead;
	/* So many pages were not its when they were looked at. */
	u64 others;
};

/* The file, in both kernels: luo_memfd_mm.c. */
bool luo_memfd_is(struct file *file);
bool luo_memfd_is_huge(struct file *file);
int luo_memfd_node(u64 frame);
bool luo_memfd_lock(struct file *file);
void luo_memfd_unlock(struct file *file);
void luo_memfd_hold(struct file *file, bool hold);
u64 luo_memfd_pages(struct file *file);
u64 luo_memfd_size(struct file *file, u32 *seals);
void luo_memfd_look(struct file *file, struct luo_memfd_facts *facts);
size_t luo_memfd_look_name(struct file *file, char *name, size_t size);
struct file *luo_memfd_make(const struct luo_memfd_facts *facts,
			    const char *name);
int luo_memfd_become(struct file *file, const struct luo_memfd_facts *facts);
int luo_memfd_account(struct file *file, u64 pages);
void luo_memfd_settle_account(struct file *file, u64 pages);

/* The old kernel: luo_memfd_take.c. */
size_t luo_memfd_take(struct file *file, u64 *next, u64 end,
		      struct luo_memfd_run *runs, size_t most);
long luo_memfd_bring(struct file *file, u64 index, u64 pages,
		     struct luo_memfd_run *runs, size_t most);
/* The same: luo_memfd_keep.c. */
bool luo_memfd_settle(struct file *file, const struct luo_memfd_run *run);
u64 luo_memfd_failed(void);
bool luo_memfd_is_sound(const struct luo_memfd_run *run);
int luo_memfd_keep(const struct luo_memfd_run *runs, size_t count, bool by_folios);
void luo_memfd_keep_no_more(const struct luo_memfd_run *run, u64 step);
void luo_memfd_let_go(const struct luo_memfd_run *run);

/* The new kernel: luo_memfd_insert.c. */
bool luo_memfd_get_back(const struct luo_memfd_run *run, u64 step);
int luo_memfd_insert(struct file *file, struct luo_memfd_run *runs, size_t count,
		     struct hugetlb_cgroup *group);
u32 luo_memfd_join_order(void);
void luo_memfd_drop(const struct luo_memfd_run *run, bool huge);

/* Who pays in the old kernel: luo_memfd_group.c. */
size_t luo_memfd_look_group(u64 frame, char *path, size_t size);
void luo_memfd_vote(struct luo_memfd_payer *payer, const struct luo_memfd_run *runs,
		    size_t count);
u64 luo_memfd_paid(const struct luo_memfd_run *run, u64 frame);

/* Who pays in the new kernel: luo_memfd_group.c, and of huge pages luo_hugetlb_mm.c. */
struct mem_cgroup *luo_memfd_group(const char *path);
void luo_memfd_group_put(struct mem_cgroup *group);
struct mem_cgroup *luo_memfd_charge(struct mem_cgroup *group);
void luo_memfd_charge_again(struct mem_cgroup *before);
bool luo_memfd_payer_has_room(struct file *file, struct hugetlb_cgroup *group,
			      u64 pages);
struct hugetlb_cgroup *luo_hugetlb_group(const char *path);
void luo_hugetlb_group_put(struct hugetlb_cgroup *group);

/* From Rust, for C: what luo_memfd::kept_huge_pages() says of a page, at boot. */
unsigned long luo_rust_huge_pages_kept(const void *page, unsigned int order, int node);

/* Where that page stands in the tree of Kexec HandOver: luo_abi::memfd::POOLS_ENTRY. */
#define LUO_HUGETLB_ENTRY "LUO-HUGETLB"

/* In the order of luo_memfd::Format::ALL. */
extern struct liveupdate_file_handler luo_memfd_handlers[3];

#endif /* _LUO_MEMFD_MM_H */
