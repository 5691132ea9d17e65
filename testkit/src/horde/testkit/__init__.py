"""What tests and benches need: servers on loopback, scripted neighbours, throwaway databases and buckets."""
