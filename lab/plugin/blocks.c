// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A plugin for QEMU: writes down which blocks of instructions a machine runs, in the windows
 * that its guest opens and closes. A block is as long as straight-line code is.
 *
 * A window opens with the first block of a program after the guest's kernel has come by the
 * address `begin`, and closes when it comes by `end`. Written to the file `out` are numbers of
 * 64 bits: 0 where a window opens, 1 where it closes, and in between for each block its address,
 * in the upper 16 bits replaced by how many instructions it has.
 *
 * What is declared here of QEMU's interface is all that is used of it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
	plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
	struct qemu_plugin_tb *block, void (*runs)(unsigned int, void *),
	int registers, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);

__attribute__((visibility("default"))) int qemu_plugin_version = INTERFACE;

#define ADDRESS_BITS 48
#define KERNEL (UINT64_C(1) << (ADDRESS_BITS - 1))
#define OPENS 0
#define CLOSES 1

static uint64_t begin, end;
static FILE *out;
/* The guest has asked for a window. */
static bool wanted;
static bool open;

static void put(uint64_t record)
{
	if (fwrite_unlocked(&record, sizeof(record), 1, out) != 1) {
		perror("blocks");
		exit(1);
	}
}

static void at_begin(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	wanted = true;
}

static void at_end(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (open) {
		put(CLOSES);
		fflush(out);
	}
	open = wanted = false;
}

static void runs(unsigned int cpu, void *data)
{
	uint64_t record = (uintptr_t)data;

	(void)cpu;
	if (!open) {
		if (!wanted || record & KERNEL)
			return;
		open = true;
		put(OPENS);
	}
	put(record);
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
	uint64_t address = qemu_plugin_tb_vaddr(block);
	uint64_t count = qemu_plugin_tb_n_insns(block);
	uint64_t record = address & ((UINT64_C(1) << ADDRESS_BITS) - 1);

	(void)id;
	record |= count << ADDRESS_BITS;
	if (address == begin)
		qemu_plugin_register_vcpu_tb_exec_cb(block, at_begin, 0, NULL);
	if (address == end)
		qemu_plugin_register_vcpu_tb_exec_cb(block, at_end, 0, NULL);
	qemu_plugin_register_vcpu_tb_exec_cb(block, runs, 0, (void *)(uintptr_t)record);
}

static const char *value(const char *argument, const char *key)
{
	size_t length = strlen(key);

	if (strncmp(argument, key, length) || argument[length] != '=')
		return NULL;
	return argument + length + 1;
}

__attribute__((visibility("default"))) int qemu_plugin_install(
	plugin_id id, const void *info, int argc, char **argv)
{
	const char *text;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if ((text = value(argv[i], "begin")))
			begin = strtoull(text, NULL, 16);
		else if ((text = value(argv[i], "end")))
			end = strtoull(text, NULL, 16);
		else if ((text = value(argv[i], "out")))
			out = fopen(text, "wb");
	}
	if (!begin || !end || !out) {
		fprintf(stderr, "blocks: begin, end and out are wanted\n");
		return -1;
	}
	setvbuf(out, NULL, _IOFBF, 1 << 16);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
