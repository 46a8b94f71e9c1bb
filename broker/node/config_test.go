package node

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

func TestAdvertised(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001}
	for _, c := range []struct {
		kafka, advertise, host string
		port                   int32
		fail                   string
	}{
		{"127.0.0.1:9092", "", "127.0.0.1", 9092, ""},
		{"127.0.0.1:0", "", "127.0.0.1", 40001, ""},
		{"0.0.0.0:9092", "", "localhost", 9092, ""},
		{":9092", "", "localhost", 9092, ""},
		{"[::]:9092", "", "localhost", 9092, ""},
		{"0.0.0.0:9092", "broker.example:19092", "broker.example", 19092, ""},
		{"127.0.0.1:9092", "broker.example", "", 0, "want host:port"},
		{"127.0.0.1:9092", "broker.example:http", "", 0, "no number"},
	} {
		l, err := Config{KafkaAddr: c.kafka, AdvertisedAddr: c.advertise}.advertised(bound)
		if c.fail != "" {
			require.ErrorContains(t, err, c.fail)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.host, l.Host)
		require.Equal(t, c.port, l.Port)
	}
}

func TestDataDirIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := lockDataDir(disk.OS(), dir)
	require.NoError(t, err)
	_, err = lockDataDir(disk.OS(), dir)
	require.ErrorContains(t, err, dir+" is in use")
	require.NoError(t, first.Close())
	second, err := lockDataDir(disk.OS(), dir)
	require.NoError(t, err)
	require.NoError(t, second.Close())
}
