// SPDX-License-Identifier: MIT OR Apache-2.0

module luo.example/counter

go 1.18
