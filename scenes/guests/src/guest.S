# SPDX-License-Identifier: MIT OR Apache-2.0
# The guest of the tests: a boot sector that counts in memory and proves that memory.
#
#   as --32 guest.S -o guest.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary guest.o -o guest.bin
#
# Each count is written into the word of a page of 16 MiB, after the word was found to be
# what was written there a round before. Every STEP counts a line goes to the serial port: the
# count as eight hexadecimal digits, or an X if a word was another one.
# At the count `last` it does what `action` says: 1 powers the machine off, 2 is a panic.

        .set    COUNT, 0x200000
        .set    PAGES, 0x1000000
        .set    STEP_MASK, 0x3ffff

        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        inb     $0x92, %al
        orb     $2, %al
        outb    %al, $0x92
        lgdtl   table
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $start32

        .code32
start32:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7000, %esp
        xorl    %eax, %eax
        movl    $PAGES, %edi
        movl    $(0x1000000 / 4), %ecx
        cld
        rep stosl
        movl    %eax, COUNT

count:  incl    COUNT
        movl    COUNT, %eax
        movl    %eax, %ebx
        andl    $0xfff, %ebx
        shll    $12, %ebx
        addl    $PAGES, %ebx
        movl    (%ebx), %edx
        movl    %eax, %ecx
        subl    $0x1000, %ecx
        jg      known
        xorl    %ecx, %ecx
known:  cmpl    %ecx, %edx
        jne     wrong
        movl    %eax, (%ebx)
        cmpl    last, %eax
        je      act
go_on:  testl   $STEP_MASK, %eax
        jnz     count
        movl    %eax, %ebp
        movl    $8, %ecx
digit:  roll    $4, %ebp
        movl    %ebp, %eax
        andb    $15, %al
        cmpb    $10, %al
        jb      small
        addb    $39, %al
small:  addb    $48, %al
        call    put
        loop    digit
        movb    $10, %al
        call    put
        jmp     count

put:    movl    %eax, %ebx
        movw    $0x3fd, %dx
wait:   inb     %dx, %al
        testb   $0x20, %al
        jz      wait
        movl    %ebx, %eax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

wrong:  movb    $88, %al
        call    put
        movb    $10, %al
        call    put
stop:   hlt
        jmp     stop

act:    cmpl    $1, action
        jne     panic
        movw    $0x604, %dx
        movw    $0x2000, %ax
        outw    %ax, %dx
        jmp     stop
panic:  movw    $0x505, %dx
        movb    $1, %al
        outb    %al, %dx
        jmp     stop

        .balign 8
gdt:    .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:  .word   23
        .long   gdt

        .org    0x1f0
last:   .long   0
action: .long   0
        .org    0x1fe
        .word   0xaa55
