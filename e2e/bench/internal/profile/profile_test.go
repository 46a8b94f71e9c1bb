package profile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestGroups: stacks as they are seen, innermost function first.
func TestGroups(t *testing.T) {
	const wire = "github.com/firnlog/firn/broker/wire.(*Conn).serve"
	for _, c := range []struct{ stack, group string }{
		{"rep_movs_alternative copyin copy_folio_from_iter_atomic generic_perform_write ext4_buffered_write_iter vfs_write do_syscall_64 internal/runtime/syscall/linux.Syscall6 " + wire, "copies and pages"},
		{"get_page_from_freelist __alloc_pages skb_page_frag_refill tcp_sendmsg do_syscall_64 " + wire, "copies and pages"},
		{"_raw_spin_unlock_bh lock_sock_nested tcp_recvmsg vfs_read ksys_read do_syscall_64 " + wire, "sockets and TCP"},
		{"try_to_wake_up ep_poll_callback sock_def_readable tcp_rcv_established do_syscall_64 " + wire, "sockets and TCP"},
		{"filemap_get_pages filemap_splice_read do_sendfile __x64_sys_sendfile64 do_syscall_64 " + wire, "file system and block layer"},
		{"memset splice_direct_to_actor do_sendfile do_syscall_64 " + wire, "sendfile and splice"},
		{"_raw_spin_lock jbd2_log_wait_commit ext4_sync_file do_fsync do_syscall_64 " + wire, "file system and block layer"},
		{"hash/crc32.castagnoliSSE42TripleLoop hash/crc32.Update github.com/firnlog/firn/tier/record.Check", "CRC"},
		{"runtime.memmove github.com/klauspost/compress/zstd.(*Decoder).DecodeAll " + wire, "compression"},
		{"runtime.memmove " + wire + " runtime.goexit.abi0", "firn and what it calls"},
		{"strconv.ParseInt " + wire + " runtime.goexit.abi0", "firn and what it calls"},
		{"runtime.scanobject runtime.gcDrain runtime.systemstack", "Go runtime"},
		{"finish_task_switch.isra.0 __schedule schedule futex_wait_queue futex_wait do_futex do_syscall_64 runtime.futex.abi0", "Go runtime"},
		{"_raw_spin_lock ep_poll do_epoll_wait do_syscall_64 internal/runtime/syscall/linux.Syscall6 runtime.netpoll", "Go runtime"},
		{"do_syscall_64 entry_SYSCALL_64_after_hwframe internal/runtime/syscall/linux.Syscall6 " + wire, Rest},
		{"go.etcd.io/raft/v3.(*raft).tick runtime.goexit.abi0", Rest},
		{"[unknown]", Rest},
	} {
		assert.Equal(t, c.group, groupOf(strings.Fields(c.stack)), c.stack)
	}
}

func TestProfile(t *testing.T) {
	var p Profile
	const script = `
	    ffffffff81e4 rep_movs_alternative
	    ffffffff81e5 generic_perform_write
	           4a1b2 github.com/firnlog/firn/tier/hot.(*Log).append

	           4a1b3 hash/crc32.Update
	           4a1b2 github.com/firnlog/firn/tier/hot.(*Log).append

	    ffffffff81e4 rep_movs_alternative
`
	require.NoError(t, p.Add(strings.NewReader(script)))
	require.NoError(t, p.Add(strings.NewReader("\t 4a1b3 main.(*x).f[go.shape.int] (inlined)\n")), "another piece of the same")
	assert.Equal(t, 4, p.Samples)
	assert.Equal(t, []Share{{"copies and pages", 50}, {"CRC", 25}, {"firn and what it calls", 25}}, p.Groups())
	assert.Equal(t, []Share{{"rep_movs_alternative", 50}, {"hash/crc32.Update", 25}}, p.Top(2))
	assert.Equal(t, "too few samples of the process's CPU time: 4\n", p.Text(1))
	require.NoError(t, p.Add(strings.NewReader(strings.Repeat(script, Enough/3))))
	assert.Equal(t, "502 samples of the process's CPU time\n\n 66.5%  copies and pages\n 33.3%  CRC\n  0.2%  firn and what it calls\n\n"+
		"By function, without what it calls:\n\n 66.5%  rep_movs_alternative\n", p.Text(1))
	var none Profile
	require.NoError(t, none.Add(strings.NewReader("\n")))
	assert.Zero(t, none.Samples)
	assert.Empty(t, none.Groups())
}
