# SPDX-License-Identifier: MIT OR Apache-2.0
# The guest of the tests that writes to its disks: a boot sector that has the firmware do so.
#
#   as --32 write.S -o write.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary write.o -o write.bin
#
# It counts. Each count fills a sector of each disk, one of ROUND after the other, after the sector was
# found to be what was written there a round before; and then it is read back. Every 0x10 counts a line goes
# to the serial port: the count as eight hexadecimal digits, or an X if a sector was another one, or an E if
# a disk has an error. The sectors lie so far from each other that each has a cluster of its own in an image
# that grows.

        .set    ROUND, 0x40             # Sectors, a power of two.
        .set    APART, 7                # The next one is 2 to the power of this behind it.
        .set    BEGIN, 0x80             # The first one.
        .set    PACKET, 0x600           # What the firmware is asked for.
        .set    SECTOR, 0x1000

        .code16
        .globl  _start
_start: cld
        xorl    %ebp, %ebp              # The count.
        movw    %bp, %ds
        movw    %bp, %es
        movw    %bp, %ss
        movw    $0x7000, %sp
count:  incl    %ebp
        movb    $0x80, %dl              # The first disk.
disk:   movb    $0x42, %ah              # What was written there a round before, if that was.
        call    ask
        movl    %ebp, %eax
        subl    $ROUND, %eax
        jbe     first
        call    same
first:  movl    %ebp, %eax
        movw    $SECTOR, %di
        movw    $128, %cx
        rep stosl
        movw    $0x4300, %ax
        call    ask
        movw    $SECTOR, %di
        xorl    %eax, %eax
        movw    $128, %cx
        rep stosl
        movb    $0x42, %ah
        call    ask
        movl    %ebp, %eax
        call    same
        incb    %dl
        cmpb    disks, %dl
        jb      disk
        testw   $0x0f, %bp
        jnz     count
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
        jmp     count

        # Has the firmware do %ah with the count's sector of disk %dl.
ask:    movl    $0x00010010, PACKET     # Its length, and one sector.
        movl    $SECTOR, PACKET + 4
        movl    %ebp, %ebx
        andl    $ROUND - 1, %ebx
        shll    $APART, %ebx
        addl    $BEGIN, %ebx
        movl    %ebx, PACKET + 8
        movl    $0, PACKET + 12
        movw    $PACKET, %si
        pushw   %dx
        pushl   %ebp
        int     $0x13
        popl    %ebp
        popw    %dx
        movb    $69, %al
        jc      end
        cld
        ret

        # The sector is full of %eax.
same:   movw    $SECTOR, %di
        movw    $128, %cx
        repe scasl
        movb    $88, %al
        jne     end
        ret

end:    call    put
        movb    $10, %al
        call    put
        cli
stop:   hlt
        jmp     stop

put:    movb    %al, %ah
        movw    $0x3fd, %dx
wait:   inb     %dx, %al
        testb   $0x20, %al
        jz      wait
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

        .org    0x1f0
disks:  .byte   0x80                    # The number behind that of the last disk.
