package kafkatools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill creates a topic of two partitions with n records of which each partition has half.
func (k *bench) fill(t *testing.T, topic string, n int) {
	t.Helper()
	code, out := k.call(t, "", "topics --create --topic "+topic+" --partitions 2")
	require.Equal(t, 0, code, out)
	for p := range 2 {
		var lines strings.Builder
		for i := range n / 2 {
			fmt.Fprintf(&lines, "%d of partition %d\n", i, p)
		}
		k.b.MustRun(lines.String(), "produce", topic, "--partition", fmt.Sprint(p))
	}
}

// groups looks at a group with a member and without, and deletes it.
func (k *bench) groups(t *testing.T) {
	k.fill(t, "work", 40)
	k.steps(t, []step{
		{run: "console-consumer --topic work --group crew --from-beginning --max-messages 40 --timeout-ms 60000", want: []string{"19 of partition 0", "19 of partition 1", "Processed a total of 40 messages"}},
		{run: "console-consumer --topic work --group crew --timeout-ms 5000", want: []string{"Processed a total of 0 messages"}},
		{run: "consumer-groups --list", want: []string{"crew"}},
		{run: "consumer-groups --list --state", want: []string{"GROUP STATE", "crew Empty"}},
		{run: "consumer-groups --list --type", want: []string{"crew Classic"}},
		{run: "consumer-groups --list --state stable", not: []string{"crew"}},
		{run: "groups --list", want: []string{"crew Classic consumer"}},
		{run: "consumer-groups --describe --group crew", want: []string{"Consumer group 'crew' has no active members.", "crew work 0 20 20 0 - - -", "crew work 1 20 20 0 - - -"}},
		{run: "consumer-groups --describe --group crew --state", want: []string{"crew 127.0.0.1:", "(1) - Empty 0"}},
		{run: "consumer-groups --describe --group nonesuch", want: []string{"Group nonesuch not found"}},
	})

	member := k.background(t, mains["console-consumer"], "--topic", "work", "--group", "crew", "--command-property", "client.id=hand", "--command-property", "group.instance.id=left",
		"--command-property", "session.timeout.ms=6000")
	t.Run("with a member", func(t *testing.T) {
		deadline := time.Now().Add(time.Minute)
		for {
			if _, out := k.call(t, "", "consumer-groups --list --state stable"); strings.Contains(out, "crew Stable") {
				break
			}
			require.True(t, time.Now().Before(deadline), "the group does not become stable")
		}
		k.steps(t, []step{
			{run: "consumer-groups --describe --group crew", want: []string{"crew work 0 20 20 0 left-", "/127.0.0.1 hand"}},
			{run: "consumer-groups --describe --group crew --offsets --verbose", want: []string{"LEADER-EPOCH", "crew work 0 0 20 20 0 left-"}},
			{run: "consumer-groups --describe --group crew --members", want: []string{"crew left-", "/127.0.0.1 hand 2"}},
			{run: "consumer-groups --describe --group crew --members --verbose", want: []string{"GROUP-INSTANCE-ID", "left /127.0.0.1 hand 2", "work:0,1"}},
			{run: "consumer-groups --describe --group crew --state", want: []string{"range Stable 1"}},
			{run: "consumer-groups --describe --all-groups --state", want: []string{"range Stable 1"}},
			{run: "consumer-groups --reset-offsets --group crew --all-topics --to-earliest --execute", want: []string{"Assignments can only be reset if the group 'crew' is inactive, but the current state is Stable."}},
			{run: "consumer-groups --delete --group crew", want: []string{"Group 'crew' could not be deleted due to", "GroupNotEmptyException"}},
			{run: "consumer-groups --delete-offsets --group crew --topic work", want: []string{"GroupSubscribedToTopicException"}},
		})
	})
	member.Kill() // without a word, and static: its session has to end

	t.Run("without it again", func(t *testing.T) {
		deadline := time.Now().Add(2 * time.Minute)
		for {
			if _, out := k.call(t, "", "consumer-groups --list --state empty"); strings.Contains(out, "crew Empty") {
				break
			}
			require.True(t, time.Now().Before(deadline), "the group does not become empty")
		}
		k.steps(t, []step{
			{run: "consumer-groups --delete-offsets --group crew --topic work:1", want: []string{"Request succeeded for deleting offsets from group crew.", "work 1 Successful"}},
			{run: "consumer-groups --describe --group crew", want: []string{"crew work 0 20 20 0 - - -"}, not: []string{"crew work 1 20"}},
			{run: "consumer-groups --delete-offsets --group crew --topic nonesuch", want: []string{"nonesuch - Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException"}},
			{run: "consumer-groups --delete --group crew", want: []string{"Deletion of requested consumer groups ('crew') was successful."}},
			{run: "consumer-groups --delete --group crew", want: []string{"Group 'crew' could not be deleted due to", "GroupIdNotFoundException"}},
			{run: "consumer-groups --list", not: []string{"crew"}},
		})
	})
}

// reset moves a group in every way that the tool knows.
func (k *bench) reset(t *testing.T) {
	code, out := k.call(t, "", "topics --create --topic timed --partitions 2")
	require.Equal(t, 0, code, out)
	for p := range 2 {
		var lines strings.Builder
		for i := range 10 { // a record a second
			fmt.Fprintf(&lines, "key\t%d\tvalue %d\n", time.Date(2020, 1, 1, 0, 0, i, 0, time.UTC).UnixMilli(), i)
		}
		k.b.MustRun(lines.String(), "produce", "timed", "--partition", fmt.Sprint(p), "--format", "key-time-value")
	}
	file := filepath.Join(t.TempDir(), "offsets.csv")
	require.NoError(t, os.WriteFile(file, []byte("timed,0,3\ntimed,1,4\n"), 0o600))
	both := func(zero, one int) []string {
		return []string{"GROUP TOPIC PARTITION NEW-OFFSET", fmt.Sprintf("mover timed 0 %d", zero), fmt.Sprintf("mover timed 1 %d", one)}
	}
	reset := "consumer-groups --reset-offsets --group mover --all-topics "
	k.steps(t, []step{
		{run: "consumer-groups --reset-offsets --group mover --topic timed --to-latest --execute", want: both(10, 10)}, // a group that does not exist yet
		{run: "consumer-groups --describe --group mover", want: []string{"mover timed 0 10 10 0", "mover timed 1 10 10 0"}},
		{run: reset + "--to-earliest --dry-run", want: both(0, 0)},
		{run: reset + "--to-earliest", want: append(both(0, 0), "No action will be performed")},
		{run: "consumer-groups --describe --group mover", want: []string{"mover timed 0 10 10 0"}},
		{run: reset + "--to-earliest --execute", want: both(0, 0)},
		{run: "consumer-groups --describe --group mover", want: []string{"mover timed 0 0 10 10", "mover timed 1 0 10 10"}},
		{run: reset + "--shift-by 4 --execute", want: both(4, 4)},
		{run: reset + "--shift-by -1 --execute", want: both(3, 3)},
		{run: reset + "--shift-by 100 --dry-run", want: both(10, 10)},
		{run: reset + "--shift-by -100 --dry-run", want: both(0, 0)},
		{run: "consumer-groups --reset-offsets --group mover --topic timed:1 --to-offset 7 --execute", want: []string{"mover timed 1 7"}, not: []string{"timed 0"}},
		{run: reset + "--to-current --execute", want: both(3, 7)},
		{run: reset + "--to-offset 99 --dry-run", want: both(10, 10)},
		{run: reset + "--to-datetime 2020-01-01T00:00:05.000 --execute", want: both(5, 5)},
		{run: reset + "--to-datetime 2020-01-01T00:00:04.500+00:00 --execute", want: both(5, 5)},
		{run: reset + "--to-datetime 2019-01-01T00:00:00.000Z --execute", want: both(0, 0)},
		{run: reset + "--to-datetime 2030-01-01T00:00:00.000 --execute", want: both(10, 10)},
		{run: reset + "--by-duration P10000D --execute", want: both(0, 0)},
		{run: reset + "--by-duration PT0S --execute", want: both(10, 10)},
		{run: reset + "--from-file " + file + " --dry-run", want: both(3, 4)},
		{run: reset + "--from-file " + file + " --execute", want: both(3, 4)},
		{run: "consumer-groups --describe --group mover", want: []string{"mover timed 0 3 10 7", "mover timed 1 4 10 6"}},
		{run: reset + "--to-current --dry-run --export", want: []string{"timed,0,3", "timed,1,4"}},
		{run: "console-consumer --topic timed --group mover --max-messages 13 --timeout-ms 60000 --formatter-property print.offset=true --formatter-property print.partition=true",
			want: []string{"Partition:0 Offset:3", "Partition:1 Offset:4", "Processed a total of 13 messages"}, not: []string{"Partition:0 Offset:2", "Partition:1 Offset:3"}},
		{run: "consumer-groups --delete --all-groups", want: []string{"Deletion of requested consumer groups (", "'mover'"}},
	})
}
