// Package javaclient runs programs with Kafka's Java client, unmodified, against firn: the admin client's calls, and
// consumers that rebalance cooperatively and have static memberships.
package javaclient

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestAdminClient calls everything of the admin client that makes sense for one broker.
func TestAdminClient(t *testing.T) { checks(t, "Admins", 25) }

// TestMembers: cooperative rebalancing and static membership.
func TestMembers(t *testing.T) { checks(t, "Members", 3) }

// checks runs a program that prints a line for each of its checks, of which there are at least so many.
func checks(t *testing.T, class string, least int) {
	jars := javatools.Kafka.Fetch(t)
	classes := javatools.Compile(t, javatools.ClassPath(jars), "testdata/Check.java", "testdata/"+class+".java")
	b := harness.Start(t, harness.Options{})
	p := javatools.Program{Name: class, ClassPath: javatools.ClassPath(classes, jars), Class: class, Args: []string{b.Kafka}}.Start(t)
	require.Equal(t, 0, p.Wait(5*time.Minute))
	made := 0
	for line := range strings.Lines(p.Output()) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			made++
			t.Run(name, func(*testing.T) {})
		} else if failed, ok := strings.CutPrefix(line, "FAILED "); ok {
			name, why, _ := strings.Cut(failed, ": ")
			t.Run(name, func(t *testing.T) { t.Error(why) })
		}
	}
	require.True(t, t.Failed() || made >= least, "only %d checks were made", made)
	require.Contains(t, p.Output(), "done")
}
