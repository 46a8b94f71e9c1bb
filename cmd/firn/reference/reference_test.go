package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/broker/api"
	"github.com/firnlog/firn/cmd/firn/config"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/groupconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

const root = "../../.."

// TestUpToDate: what the repository says of protocol and configs is what the code does.
func TestUpToDate(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	want, err := Readme(string(readme))
	require.NoError(t, err)
	require.True(t, want == string(readme), "README.md is out of date: run %s", Renew)

	page, err := os.ReadFile(filepath.Join(root, ConfigurationFile))
	require.NoError(t, err, "run %s", Renew)
	require.True(t, Configuration() == string(page), "%s is out of date: run %s", ConfigurationFile, Renew)
}

// TestComplete: every key, every config and every API is there, in the tables and not only in passing.
func TestComplete(t *testing.T) {
	page := Configuration()
	rows := func(heading string) string {
		_, section, found := strings.Cut(page, "\n## "+heading+"\n")
		require.True(t, found, heading)
		section, _, _ = strings.Cut(section, "\n## ")
		return section
	}
	for _, k := range config.Keys() {
		require.Contains(t, rows("firn.yaml"), "\n| `"+k.Name+"` |")
	}
	none, _, _ := strings.Cut(NoEffect(), "\nTopics:\n")
	for _, d := range brokerconfig.Defs() {
		if !d.Internal {
			require.Contains(t, rows("Broker configs"), "\n| `"+d.Name+"` |")
			require.Equal(t, d.NoEffect != "", strings.Contains(none, "`"+d.Name+"`"), d.Name)
		}
	}
	for _, d := range topicconfig.Defs() {
		if !d.Internal {
			require.Contains(t, rows("Topic configs"), "\n| `"+d.Name+"` |")
		}
	}
	for _, d := range groupconfig.Defs() {
		require.Contains(t, rows("Group configs"), "\n| `"+d.Name+"` |")
	}
	require.Equal(t, len(api.Versions())+2, strings.Count(Protocol(), "\n"))
	require.Contains(t, Protocol(), "| 18 | ApiVersions | 0 to ")
}

// TestReadmeWithoutMarkers: a part that has no place is told, not lost.
func TestReadmeWithoutMarkers(t *testing.T) {
	_, err := Readme("# firn\n")
	require.ErrorContains(t, err, "lacks the lines")
}
