# SPDX-License-Identifier: MIT OR Apache-2.0
# The guest of the tests that talks to another one: a boot sector that drives a network card.
#
#   as --32 talk.S -o talk.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary talk.o -o talk.bin
#
# Two of them count together: who hears a number that is not below his own goes on to the next one,
# and says it. Who hears nothing for a while says his own again, so a frame that is lost costs time
# only. Of each 0x40 numbers the first, or the one after it, goes to the serial port as eight
# hexadecimal digits.
# The card is an NE2000 at 0x300, without interrupts; frames are those of a local experiment (0x88b5).

        .set    CARD, 0x300
        .set    DATA, 0x310
        .set    FIRST, 0x46             # Pages of the card: one to send from, then what it receives.
        .set    END, 0x80
        .set    HEARD, 0x600            # What was received: four bytes of the card's, then the frame.
        .set    BETWEEN, 0x4000         # Looks at the card, before a number is said again.

        .code16
        .globl  _start
_start: cli
        cld
        xorl    %ebp, %ebp              # The number.
        movw    %bp, %ds
        movw    %bp, %es
        movw    %bp, %ss
        movw    $0x7000, %sp
        movw    $set_up, %si
each:   lodsw                           # A register of the card, and what it gets.
        testb   %al, %al
        js      ready
        call    set
        jmp     each

ready:  movb    $FIRST + 1, %bl         # The page where the next frame will be.
say:    movl    %ebp, number
        movw    $to_send, %si
        call    orders
        movw    $frame, %si
        movw    $DATA, %dx
        movw    $60, %cx
        rep outsb
        movw    $sent, %si
        call    orders
again:  movw    $BETWEEN, %cx
look:   movw    $0x6200, %ax            # The page that the card fills next.
        call    set
        movw    $CARD + 7, %dx
        inb     %dx, %al
        movb    %al, %bh
        movw    $0x2200, %ax
        call    set
        cmpb    %bl, %bh
        jne     hear
        loop    look
        jmp     say

hear:   movb    $9, %al                 # Reading begins at that page.
        movb    %bl, %ah
        call    set
        movw    $to_hear, %si
        call    orders
        movw    $HEARD, %di
        movw    $DATA, %dx
        movw    $22, %cx
        rep insb
        movb    HEARD + 1, %bl          # The frame after it; the card may use what is before.
        movb    $3, %al
        movb    %bl, %ah
        call    set
        movl    HEARD + 18, %eax
        cmpw    $0xb588, HEARD + 16
        jne     again
        cmpl    %ebp, %eax
        jb      again
        incl    %eax
        movl    %eax, %ebp
        andw    $0x3f, %ax
        cmpw    $2, %ax
        jae     say
        movw    $8, %cx
digit:  roll    $4, %ebp
        movw    %bp, %ax
        andb    $15, %al
        cmpb    $10, %al
        jb      small
        addb    $39, %al
small:  addb    $48, %al
        call    put
        loop    digit
        movb    $10, %al
        call    put
        jmp     say

orders: lodsw
        testb   %al, %al
        js      done
        call    set
        jmp     orders
set:    movw    $CARD, %dx
        addb    %al, %dl
        movb    %ah, %al
        outb    %al, %dx
done:   ret

put:    movb    %al, %ah
        movw    $0x3fd, %dx
wait:   inb     %dx, %al
        testb   $0x20, %al
        jz      wait
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

        # A register, what it gets, ... and a byte with its highest bit set.
set_up: .byte   0, 0x21, 14, 0x48, 10, 0, 11, 0, 12, 0x14, 13, 0, 1, FIRST, 2, END, 3, FIRST
        .byte   7, 0xff, 15, 0, 0, 0x61, 7, FIRST + 1, 0, 0x22, 0xff, 0
to_send: .byte  8, 0, 9, 0x40, 10, 60, 11, 0, 0, 0x12, 0xff, 0
sent:   .byte   4, 0x40, 5, 60, 6, 0, 0, 0x26, 0xff, 0
to_hear: .byte  8, 0, 10, 22, 11, 0, 0, 0x0a, 0xff, 0
frame:  .byte   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5
number: .long   0
        .fill   42, 1, 0
