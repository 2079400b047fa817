# SPDX-License-Identifier: MIT OR Apache-2.0
# The bare guest of luo-vmm's tests: a program without an operating system, which counts in memory,
# proves that memory, and sees by the processor's counter when it stood still.
#
#   as --32 bare.S -o bare.o && ld -m elf_i386 -Ttext 0x100000 --oformat binary bare.o -o bare.bin
#
# It begins at 1 MiB in protected mode with flat segments. Each count is written into the word of
# a page of 16 MiB, after the word was found to be what was written there a round before. Every
# STEP counts a line goes to the serial port, all in hexadecimal digits:
#
#   COUNT TIME GAP       8, 16 and 16 digits
#
# TIME is the processor's counter, and GAP the longest that it took from one count to the next since
# the last line. If a word was another one the line is an X, and the guest halts.
# At the count `last` it does what `action` says: 1 powers the machine off, 2 resets it, 3 faults.

        .set    COUNT, 0x200000
        .set    THEN, 0x200008
        .set    GAP, 0x200010
        .set    PAGES, 0x1000000
        .set    STEP_MASK, 0x3ffff

        .code32
        .globl  _start
_start: cli
        movl    $0x80000, %esp
        xorl    %eax, %eax
        movl    $PAGES, %edi
        movl    $(0x1000000 / 4), %ecx
        cld
        rep stosl
        movl    %eax, COUNT
        movl    %eax, GAP
        movl    %eax, GAP + 4
        rdtsc
        movl    %eax, THEN
        movl    %edx, THEN + 4

count:  incl    COUNT
        rdtsc
        movl    %eax, %esi
        movl    %edx, %edi
        subl    THEN, %eax
        sbbl    THEN + 4, %edx
        movl    %esi, THEN
        movl    %edi, THEN + 4
        cmpl    GAP + 4, %edx
        jb      shorter
        ja      longer
        cmpl    GAP, %eax
        jbe     shorter
longer: movl    %eax, GAP
        movl    %edx, GAP + 4
shorter:
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
        testl   $STEP_MASK, %eax
        jnz     count

        movl    %eax, %ebp
        call    number
        call    blank
        movl    THEN + 4, %ebp
        call    number
        movl    THEN, %ebp
        call    number
        call    blank
        movl    GAP + 4, %ebp
        call    number
        movl    GAP, %ebp
        call    number
        movb    $10, %al
        call    put
        xorl    %eax, %eax
        movl    %eax, GAP
        movl    %eax, GAP + 4
        jmp     count

number: movl    $8, %ecx
digit:  roll    $4, %ebp
        movl    %ebp, %eax
        andb    $15, %al
        cmpb    $10, %al
        jb      small
        addb    $39, %al
small:  addb    $48, %al
        call    put
        loop    digit
        ret

blank:  movb    $32, %al
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

act:    movl    action, %eax
        cmpl    $2, %eax
        je      reset
        ja      fault
        movw    $0x604, %dx
        movw    $0x2000, %ax
        outw    %ax, %dx
        jmp     stop
reset:  movb    $0xfe, %al
        outb    %al, $0x64
        jmp     stop
fault:  lidt    none
        int3

        .balign 4
none:   .word   0
        .long   0
        .org    0x1f0
last:   .long   0
action: .long   0
        .org    0x200
