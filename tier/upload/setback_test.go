package upload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// I-35: a log that began anew at the archive's end, beside a ledger that was set back to before that. Nothing that the
// older ledger names is given up.
func TestPlanAfterTheLedgerWasSetBack(t *testing.T) {
	s := State{Leader: true, Config: Config{Enabled: true}, Start: 0, Next: 50, LogStart: 100, LocalStart: 100, Stable: 120}
	d := Plan(s, 0)
	require.Equal(t, Stuck, d.Action)
	require.Contains(t, d.Reason, "older")
	s.Start = 50 // nothing readable is archived: the topic was local before
	require.Equal(t, Begin, Plan(s, 0).Action)
}
