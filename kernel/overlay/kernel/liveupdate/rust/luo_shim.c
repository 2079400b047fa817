// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of the orchestrator that C macros force: a boot parameter, two
 * initcalls, and the in-kernel test's hook, which is an inline function when
 * the test is not built.
 */
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/liveupdate.h>

#include "../luo_internal.h"
#include "luo_shim.h"

static int __init luo_shim_parameter(char *value)
{
	bool on;
	int err = kstrtobool(value, &on);

	if (!err)
		luo_rust_enable(on);
	return err;
}
early_param("liveupdate", luo_shim_parameter);

/* Drivers ask for handed-over FLBs in their own initcalls: be before them. */
early_initcall(luo_rust_early_init);
late_initcall(luo_rust_late_init);

void luo_shim_test_register(struct liveupdate_file_handler *fh)
{
	liveupdate_test_register(fh);
}
