using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Dmb.Tests.Support;

/// <summary>The ways that bytes go between a node and Redis.</summary>
[Flags]
public enum Way
{
    ToRedis = 1,
    FromRedis = 2,
    Both = ToRedis | FromRedis,
}

/// <summary>
/// A relay between a node and Redis that can fail in the ways a network does. A fault lasts until <see cref="Heal"/>,
/// for connections there are and for those that come.
/// </summary>
public sealed class FaultProxy : IAsyncDisposable
{
    private readonly int _target;
    private readonly ConcurrentDictionary<Relay, Task> _relays = [];
    private readonly Gate _toRedis = new();
    private readonly Gate _fromRedis = new();
    private TcpListener? _listener;
    private Task _accepting = Task.CompletedTask;

    /// <param name="target">The port of 127.0.0.1 that it passes everything on to.</param>
    public FaultProxy(int target)
    {
        _target = target;
        Listen();
    }

    public int Port { get; } = RedisServer.FreePort();

    /// <summary>Connections that are open now.</summary>
    public int Connections => _relays.Count;

    /// <summary>Cuts the connections there are, with a reset; new ones work at once.</summary>
    public void Cut()
    {
        foreach (var (relay, _) in _relays)
        {
            relay.Reset();
        }
    }

    /// <summary>Cuts the connections there are, and refuses new ones.</summary>
    public void Refuse()
    {
        _listener?.Dispose();
        _listener = null;
        Cut();
    }

    /// <summary>Accepts connections and keeps them open, but holds back what goes these ways, until it heals.</summary>
    public void Stall(Way ways) => Set(ways, Traffic.Waits);

    /// <summary>Half open: what goes these ways is taken and vanishes.</summary>
    public void Swallow(Way ways) => Set(ways, Traffic.Vanishes);

    /// <summary>From now on what goes either way takes so long, healed or not.</summary>
    public void Delay(TimeSpan each) => _toRedis.Delay = _fromRedis.Delay = each;

    /// <summary>Ends the fault. What was held back goes on; connections that lost something are cut.</summary>
    public void Heal()
    {
        ResetLossy();
        Set(Way.Both, Traffic.Passes);

        // A connection that began meanwhile may have lost its first bytes, and would wait for their answer.
        ResetLossy();
        if (_listener is null)
        {
            Listen();
        }
    }

    private void ResetLossy()
    {
        foreach (var (relay, _) in _relays)
        {
            if (relay.HasLost)
            {
                relay.Reset();
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        Refuse();
        await _accepting;
        await Task.WhenAll(_relays.Values);
    }

    private void Set(Way ways, Traffic traffic)
    {
        if (ways.HasFlag(Way.ToRedis))
        {
            _toRedis.Set(traffic);
        }

        if (ways.HasFlag(Way.FromRedis))
        {
            _fromRedis.Set(traffic);
        }
    }

    private void Listen()
    {
        _listener = new TcpListener(IPAddress.Loopback, Port);
        _listener.Start();
        _accepting = AcceptAsync(_listener);
    }

    private async Task AcceptAsync(TcpListener listener)
    {
        while (true)
        {
            Socket node;
            try
            {
                node = await listener.AcceptSocketAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }

            var relay = new Relay(node);
            var relaying = RelayAsync(relay);
            _relays[relay] = relaying;
            if (relaying.IsCompleted || _listener != listener)
            {
                relay.Reset();
                _relays.TryRemove(relay, out _);
            }
        }
    }

    private async Task RelayAsync(Relay relay)
    {
        await relay.RunAsync(_target, _toRedis, _fromRedis);
        _relays.TryRemove(relay, out _);
    }

    private enum Traffic
    {
        Passes,
        Waits,
        Vanishes,
    }

    /// <summary>What happens to what goes one way.</summary>
    private sealed class Gate
    {
        private readonly Lock _lock = new();
        private Traffic _traffic;

        /// <summary>How long the way takes.</summary>
        public TimeSpan Delay { get; set; }

        private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Set(Traffic traffic)
        {
            lock (_lock)
            {
                _traffic = traffic;
                _changed.SetResult();
                _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }

        /// <summary>Waits while traffic waits. False when what asked is to vanish.</summary>
        public async Task<bool> PassAsync(CancellationToken cut)
        {
            while (true)
            {
                Task changed;
                lock (_lock)
                {
                    if (_traffic != Traffic.Waits)
                    {
                        return _traffic == Traffic.Passes;
                    }

                    changed = _changed.Task;
                }

                await changed.WaitAsync(cut);
            }
        }
    }

    /// <summary>One connection of the node, and the one to Redis that belongs to it.</summary>
    private sealed class Relay(Socket node) : IDisposable
    {
        private readonly Socket _redis = new(SocketType.Stream, ProtocolType.Tcp);
        private readonly CancellationTokenSource _cut = new();

        /// <summary>Whether something vanished, so that what follows would make no sense.</summary>
        public bool HasLost { get; private set; }

        public async Task RunAsync(int target, Gate toRedis, Gate fromRedis)
        {
            try
            {
                node.NoDelay = _redis.NoDelay = true;
                await _redis.ConnectAsync(IPAddress.Loopback, target, _cut.Token);
                await Task.WhenAny(PumpAsync(node, _redis, toRedis), PumpAsync(_redis, node, fromRedis));
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // Nobody there, or cut.
            }

            if (_cut.IsCancellationRequested)
            {
                node.LingerState = _redis.LingerState = new LingerOption(enable: true, seconds: 0);
            }

            Dispose();
        }

        public void Reset() => _cut.Cancel();

        public void Dispose()
        {
            // Not the source of tokens: a fault may still want to cut.
            node.Dispose();
            _redis.Dispose();
        }

        private async Task PumpAsync(Socket from, Socket to, Gate gate)
        {
            var buffer = new byte[65_536];
            try
            {
                while (await from.ReceiveAsync(buffer, _cut.Token) is > 0 and var count)
                {
                    if (gate.Delay > TimeSpan.Zero)
                    {
                        await Task.Delay(gate.Delay, TimeProvider.System, _cut.Token);
                    }

                    if (!await gate.PassAsync(_cut.Token))
                    {
                        HasLost = true;
                        continue;
                    }

                    for (var sent = 0; sent < count; )
                    {
                        sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), _cut.Token);
                    }
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // The end of the connection, whoever ended it.
            }
        }
    }
}
