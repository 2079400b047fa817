# SPDX-License-Identifier: MIT OR Apache-2.0
# The bare guest of the tests: a program without an operating system, which counts in memory, proves
# that memory, and sees by the processor's counter when it stood still. With two processors the other
# one counts, too, in memory of its own, and each sees that the other goes on.
#
#   as --32 bare.S -o bare.o && ld -m elf_i386 -Ttext 0x100000 --oformat binary bare.o -o bare.bin
#
# It begins at 1 MiB in protected mode with flat segments: luo-vmm has it begin at its first byte, and
# QEMU's -kernel where the header says. Each count is written into the word of a page of 16 MiB, after
# the word was found to be what was written there a round before. Every STEP counts a line goes to the
# serial port, all in hexadecimal digits:
#
#   COUNT TIME GAP       8, 16 and 16 digits
#
# TIME is the processor's counter, and GAP the longest that it took from one count to the next since
# the last line. If a word was another one the line is an X, and the guest halts. So it is if the other
# processor's counter is ahead of this one's, and without a step of the other there is no line.
# With a doorbell of luo-vmm's it rings every RING counts and goes on. Before each line it rings once
# more, and waits until luo-vmm has heard as many rings as there were, and until it was interrupted for
# that one. If more were heard the line is an X, and if one is lost it waits for good.
# At the count `last` it does what `action` says: 1 powers the machine off, 2 resets it, 3 faults.

        .set    COUNT, 0x200000
        .set    THEN, 0x200008
        .set    GAP, 0x200010
        # What the other processor has counted to, what of that was seen, its time, and that it found
        # another word.
        .set    OTHER, 0x200020
        .set    SEEN, 0x200024
        .set    STAMP, 0x200028
        .set    WRONG, 0x200030
        # How often it has rung.
        .set    RUNG, 0x200034
        .set    RING_MASK, 0x3ff
        .set    BELL, 0x620
        .set    BELL_IRR, 0x20
        .set    PIC, 0x20
        .set    PAGES, 0x1000000
        .set    OTHER_PAGES, 0x2000000
        .set    STEP_MASK, 0x3ffff
        .set    APIC, 0xfee00000
        .set    LOW, 0x8000
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 0x10000

        .code32
        .globl  _start
_start: jmp     begin

        # A multiboot header: where this is loaded, where it ends, and where it begins.
        .balign 4
header: .long   MAGIC, FLAGS, -(MAGIC + FLAGS)
        .long   header, _start, end, end, begin

begin:  cli
        movl    $0x80000, %esp
        xorl    %eax, %eax
        cld
        movl    $PAGES, %edi
        movl    $(0x1000000 / 4), %ecx
        rep stosl
        movl    $COUNT, %edi
        movl    $16, %ecx
        rep stosl
        cmpl    $2, processors
        jb      alone

        # The other one begins in low memory, in real mode.
        movl    $OTHER_PAGES, %edi
        movl    $(0x1000000 / 4), %ecx
        rep stosl
        movl    $low, %esi
        movl    $LOW, %edi
        movl    $(low_end - low), %ecx
        rep movsb
        orl     $0x100, APIC + 0xf0
        movl    $0xc4500, APIC + 0x300
wake:   movl    $1000000, %ecx
breath: pause
        loop    breath
        movl    $(0xc4600 + (LOW >> 12)), APIC + 0x300
        cmpl    $0, OTHER
        je      wake

alone:  rdtsc
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
        cmpl    $0, bell
        je      quiet
        testl   $RING_MASK, %eax
        jnz     quiet
        call    ring
        movl    COUNT, %eax
quiet:  testl   $STEP_MASK, %eax
        jnz     count
        cmpl    $0, bell
        je      rested

        # Beginning anew, the interrupt controller forgets which edges it has seen.
        movb    $0x11, %al
        outb    %al, $PIC
        movb    $0x20, %al
        outb    %al, $(PIC + 1)
        movb    $0x04, %al
        outb    %al, $(PIC + 1)
        movb    $0x01, %al
        outb    %al, $(PIC + 1)
        # What is read of it from now on is what was requested.
        movb    $0x0a, %al
        outb    %al, $PIC
        call    ring
heard:  pause
        movw    $BELL, %dx
        inl     %dx, %eax
        cmpl    RUNG, %eax
        ja      wrong
        jb      heard
edge:   pause
        inb     $PIC, %al
        testb   $BELL_IRR, %al
        jz      edge

rested:
        cmpl    $2, processors
        jb      line
behind: pause
        cmpl    $0, WRONG
        jne     wrong
        movl    OTHER, %eax
        cmpl    SEEN, %eax
        je      behind
        movl    %eax, SEEN
        # Its time, read at once, is not after ours.
        xorl    %eax, %eax
        xorl    %edx, %edx
        xorl    %ebx, %ebx
        xorl    %ecx, %ecx
        lock cmpxchg8b STAMP
        movl    %eax, %esi
        movl    %edx, %edi
        rdtsc
        subl    %esi, %eax
        sbbl    %edi, %edx
        jc      wrong

line:   movl    COUNT, %ebp
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

ring:   incl    RUNG
        movw    $BELL, %dx
        outb    %al, %dx
        ret

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

        # The other processor.
other:  movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        xorl    %ebp, %ebp
step:   incl    %ebp
        movl    %ebp, %esi
        andl    $0xfff, %esi
        shll    $12, %esi
        movl    OTHER_PAGES(%esi), %edi
        movl    %ebp, %ecx
        subl    $0x1000, %ecx
        jg      written
        xorl    %ecx, %ecx
written:
        cmpl    %ecx, %edi
        jne     other_wrong
        movl    %ebp, OTHER_PAGES(%esi)
        rdtsc
        movl    %eax, %ebx
        movl    %edx, %ecx
        # It is written at once, and nobody else writes it.
        movl    STAMP, %eax
        movl    STAMP + 4, %edx
        lock cmpxchg8b STAMP
        movl    %ebp, OTHER
        jmp     step
other_wrong:
        movl    $1, WRONG
halt:   hlt
        jmp     halt

        .code16
low:    cli
        movw    %cs, %ax
        movw    %ax, %ds
        lgdtl   table - low
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $other
        .balign 8
gdt:    .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:  .word   23
        .long   LOW + gdt - low
low_end:

        .balign 4
none:   .word   0
        .long   0
        .org    0x3f0
last:   .long   0
action: .long   0
processors:
        .long   1
bell:   .long   0
        .org    0x400
end:
