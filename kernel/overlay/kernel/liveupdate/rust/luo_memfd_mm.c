// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memfds as files, which shared memory does not export: to look at one, to hold it still, and to
 * make one. What is done with them is decided in handlers/memfd.rs. luo_memfd_take.c, _keep.c and
 * _insert.c are about their pages, and who pays is looked up in luo_memfd_group.c.
 *
 * A file is held still by shmem's own flag: its size does not change and no hole is
 * punched into it.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/liveupdate.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/posix_acl.h>
#include <linux/shmem_fs.h>
#include <linux/user_namespace.h>
#include <uapi/linux/memfd.h>

#include "../../../mm/internal.h"
#include "luo_guest_mm.h"
#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/* The flags of an open file that outlive it. */
#define LUO_MEMFD_FLAGS (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

/* The seals that follow from F_SEAL_EXEC on a file that can be executed. */
#define LUO_MEMFD_FOLLOW \
	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

bool luo_memfd_is(struct file *file)
{
	return shmem_file(file) && !file_inode(file)->i_nlink;
}

bool luo_memfd_is_huge(struct file *file)
{
	return luo_hugetlb_is(file);
}

/* Whoever writes to the file may have this lock for as long as they like. */
bool luo_memfd_lock(struct file *file)
{
	return inode_trylock(file_inode(file));
}

void luo_memfd_unlock(struct file *file)
{
	inode_unlock(file_inode(file));
}

/*
 * Beginning to hold takes the lock above, so that nobody is in the middle of what is
 * forbidden from now on. Ending takes none. Of a memfd no other of these flags is ever
 * changed, so the spinlock keeps the two of us from each other only.
 */
void luo_memfd_hold(struct file *file, bool hold)
{
	struct inode *inode = file_inode(file);
	struct shmem_inode_info *info = SHMEM_I(inode);

	if (luo_hugetlb_is(file)) {
		luo_hugetlb_hold(file, hold);
		return;
	}
	spin_lock(&info->lock);
	shmem_freeze(inode, hold);
	spin_unlock(&info->lock);
}

/* How many pages the file has, in memory or swapped out. */
u64 luo_memfd_pages(struct file *file)
{
	struct shmem_inode_info *info = SHMEM_I(file_inode(file));
	u64 pages;

	if (!shmem_file(file))
		return READ_ONCE(file->f_mapping->nrpages);
	spin_lock(&info->lock);
	pages = READ_ONCE(file->f_mapping->nrpages) + info->swapped;
	spin_unlock(&info->lock);
	return pages;
}

static unsigned int luo_memfd_seals(struct file *file)
{
	if (luo_hugetlb_is(file))
		return luo_hugetlb_seals(file);
	return shmem_file(file) ? SHMEM_I(file_inode(file))->seals : 0;
}

u64 luo_memfd_size(struct file *file, u32 *seals)
{
	struct inode *inode = file_inode(file);

	*seals = luo_memfd_seals(file);
	return i_size_read(inode);
}

static struct luo_memfd_time luo_memfd_time_of(struct timespec64 time)
{
	return (struct luo_memfd_time){ time.tv_sec, time.tv_nsec };
}

static struct timespec64 luo_memfd_timespec(struct luo_memfd_time time)
{
	return (struct timespec64){ time.seconds, time.nanoseconds };
}

/* Writes the name of the file; its length, or 0 if it is too long. */
size_t luo_memfd_look_name(struct file *file, char *name, size_t size)
{
	struct name_snapshot snapshot;
	ssize_t length;

	take_dentry_name_snapshot(&snapshot, file->f_path.dentry);
	length = strscpy(name, snapshot.name.name, size);
	release_dentry_name_snapshot(&snapshot);
	return max(length, 0);
}

/*
 * The mode of a file. With an access control list, which is not kept, the group's bits are
 * what the list may give at most, and nobody has been given them.
 */
static u32 luo_memfd_mode(struct inode *inode)
{
	u32 mode = inode->i_mode & S_IALLUGO;
	struct posix_acl *list = get_inode_acl(inode, ACL_TYPE_ACCESS);

	if (IS_ERR(list))
		return mode & ~S_IRWXG;
	if (list) {
		mode &= ~S_IRWXG;
		posix_acl_release(list);
	}
	return mode;
}

void luo_memfd_look(struct file *file, struct luo_memfd_facts *facts)
{
	struct inode *inode = file_inode(file);

	facts->size = i_size_read(inode);
	facts->position = file->f_pos;
	facts->seals = luo_memfd_seals(file);
	facts->huge = luo_hugetlb_order(file);
	facts->flags = file->f_flags & LUO_MEMFD_FLAGS;
	facts->mode = luo_memfd_mode(inode);
	facts->uid = from_kuid(&init_user_ns, inode->i_uid);
	facts->gid = from_kgid(&init_user_ns, inode->i_gid);
	facts->access = luo_memfd_time_of(inode_get_atime(inode));
	facts->modification = luo_memfd_time_of(inode_get_mtime(inode));
	facts->change = luo_memfd_time_of(inode_get_ctime(inode));
	/* Others do not know it. */
	if (shmem_file(file))
		facts->birth = luo_memfd_time_of(SHMEM_I(inode)->i_crtime);
}

/* Makes a file be as it is known to have been, but for its size, its mode and its seals. */
int luo_memfd_become(struct file *file, const struct luo_memfd_facts *facts)
{
	kuid_t uid = make_kuid(&init_user_ns, facts->uid);
	kgid_t gid = make_kgid(&init_user_ns, facts->gid);
	struct inode *inode = file_inode(file);

	if (!uid_valid(uid) || !gid_valid(gid))
		return -EINVAL;
	inode->i_uid = uid;
	inode->i_gid = gid;
	file->f_flags |= facts->flags & LUO_MEMFD_FLAGS;
	/* As an open by its path gives it: without that nobody can have the flag. */
	if (file->f_flags & O_DIRECT)
		file->f_mode |= FMODE_CAN_ODIRECT;
	file->f_iocb_flags = iocb_flags(file);
	inode_set_atime_to_ts(inode, luo_memfd_timespec(facts->access));
	inode_set_mtime_to_ts(inode, luo_memfd_timespec(facts->modification));
	inode_set_ctime_to_ts(inode, luo_memfd_timespec(facts->change));
	if (shmem_file(file))
		SHMEM_I(inode)->i_crtime = luo_memfd_timespec(facts->birth);
	return 0;
}

/*
 * A file without pages of which the facts are true. Without a name mainline's handler has
 * written them, and what that does not know is what it makes of a file.
 */
struct file *luo_memfd_make(const struct luo_memfd_facts *facts,
			    const char *name)
{
	struct inode *inode;
	struct file *file;
	int err;

	if (facts->huge)
		file = luo_hugetlb_make(name ? name : "", facts->huge);
	else
		file = memfd_alloc_file(name ? name : "", MFD_ALLOW_SEALING);
	if (IS_ERR(file))
		return file;
	inode = file_inode(file);
	/*
	 * The mode comes before the seals: F_SEAL_EXEC on a file that can be executed
	 * seals all of it. A file that has that seal and not those which follow from it
	 * could not be executed.
	 */
	if (name)
		inode->i_mode = S_IFREG | (facts->mode & S_IALLUGO);
	else if ((facts->seals & F_SEAL_EXEC) &&
		 (facts->seals & LUO_MEMFD_FOLLOW) != LUO_MEMFD_FOLLOW)
		inode->i_mode &= ~0111;
	err = memfd_add_seals(file, facts->seals);
	if (!err && name)
		err = luo_memfd_become(file, facts);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	i_size_write(inode, facts->size);
	vfs_setpos(file, facts->position, MAX_LFS_FILESIZE);
	return file;
}

/*
 * Accounts for pages that are to come into a file. Huge ones are in their pool, and those of
 * virtual machines are nobody's business.
 */
int luo_memfd_account(struct file *file, u64 pages)
{
	if (!shmem_file(file))
		return 0;
	return shmem_inode_acct_blocks(file_inode(file), pages);
}

/* So many pages were accounted for; those that are not there are given back. */
void luo_memfd_settle_account(struct file *file, u64 pages)
{
	if (shmem_file(file))
		shmem_recalc_inode(file_inode(file), pages, 0);
}

/* The node that a page is on. */
int luo_memfd_node(u64 frame)
{
	return pfn_to_nid(frame);
}

/* What C code knows our handlers by, to have objects that their files share. */
static const struct liveupdate_file_ops luo_memfd_no_ops = {};

struct liveupdate_file_handler luo_memfd_handlers[] = {
	{ .ops = &luo_memfd_no_ops, .compatible = "memfd-v2" },
	{ .ops = &luo_memfd_no_ops, .compatible = "luo-memfd-v1" },
	{ .ops = &luo_memfd_no_ops, .compatible = "luo-hugetlb-v1" },
};
