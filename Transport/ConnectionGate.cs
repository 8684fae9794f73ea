using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Dmb.Access;
using Dmb.Telemetry;

namespace Dmb.Transport;

/// <summary>
/// Accepts or refuses new connections. Keeps a reserve of file descriptors that connections cannot use: the runtime
/// ends the process when a new thread gets none, and Redis and files need some too.
/// </summary>
internal sealed partial class ConnectionGate : IDisposable
{
    /// <summary>
    /// Least number of descriptors in the reserve; the reserve is this or a tenth of the limit, whichever is more.
    /// </summary>
    private const int ReserveMin = 64;

    /// <summary>Minimum time between two warnings about refused connections.</summary>
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Count _noFile = new();
    private readonly Count _fullAddress = new();
    private readonly PartitionedRateLimiter<string>? _perAddress;

    /// <summary>First descriptor of the reserve. The kernel always assigns the lowest free descriptor.</summary>
    private readonly long _firstReserved;
    private long _warnedAt;
    private bool _hasWarned;

    public ConnectionGate(
        TransportOptions options,
        BrokerTelemetry telemetry,
        TimeProvider time,
        ILogger<ConnectionGate> logger
    )
    {
        (_time, _logger) = (time, logger);
        FilesMax = ReadFilesMax();
        _firstReserved = FilesMax - Math.Max(ReserveMin, FilesMax / 10);
        var limit = options.MaxConnectionsPerAddress;
        _perAddress =
            limit == 0
                ? null
                : PartitionedRateLimiter.Create<string, string>(address =>
                    RateLimitPartition.GetConcurrencyLimiter(address, _ => new ConcurrencyLimiterOptions
                    {
                        PermitLimit = limit,
                    })
                );
        telemetry.Meter.CreateObservableCounter(
            "dmb.connections.refused",
            () =>
                (Measurement<long>[])[new(_noFile.Value, Reason("files")), new(_fullAddress.Value, Reason("address"))],
            "{connection}",
            "Connections closed as soon as they were accepted, by reason."
        );
    }

    /// <summary>The process's soft limit of open files; <see cref="long.MaxValue"/> where it is not known.</summary>
    public long FilesMax { get; }

    /// <summary>Maximum number of open connections.</summary>
    public long ConnectionsMax => _firstReserved;

    /// <summary>Admits an accepted connection, or counts its refusal and logs it at most once a minute.</summary>
    /// <param name="socket">The accepted socket.</param>
    /// <param name="lease">
    /// The connection's permit, to dispose when it closes; null without a limit per address.
    /// </param>
    /// <returns>False if the caller has to close the socket.</returns>
    public bool TryEnter(Socket socket, out IDisposable? lease)
    {
        lease = null;
        if (socket.Handle >= _firstReserved)
        {
            Refuse(_noFile, $"{FilesMax} files may be open (ulimit -n, LimitNOFILE=)");
            return false;
        }

        if (_perAddress is null || socket.RemoteEndPoint is not IPEndPoint { Address: var address })
        {
            return true;
        }

        var held = _perAddress.AttemptAcquire(Limits.AddressOf(address));
        if (held.IsAcquired)
        {
            lease = held;
            return true;
        }

        held.Dispose();
        Refuse(_fullAddress, "an address has as many connections as DMB_MAX_CONNECTIONS_PER_ADDRESS allows");
        return false;
    }

    public void Dispose() => _perAddress?.Dispose();

    private static KeyValuePair<string, object?> Reason(string reason) => new("reason", reason);

    private void Refuse(Count count, string why)
    {
        count.Add(1);
        if (!_hasWarned || _time.GetElapsedTime(_warnedAt) >= WarningInterval)
        {
            (_hasWarned, _warnedAt) = (true, _time.GetTimestamp());
            LogRefused(why);
        }
    }

    /// <summary>The soft limit in <c>/proc/self/limits</c> (proc(5)).</summary>
    internal static long ReadFilesMax()
    {
        const string Line = "Max open files";
        try
        {
            var line = File.ReadLines("/proc/self/limits")
                .FirstOrDefault(line => line.StartsWith(Line, StringComparison.Ordinal))
                ?? "";
            var soft = line[Math.Min(Line.Length, line.Length)..]
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .FirstOrDefault();
            return long.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out var limit)
                ? limit
                : long.MaxValue;
        }
        catch (IOException)
        {
            // There is no /proc: not Linux.
            return long.MaxValue;
        }
    }

    [LoggerMessage(7002, LogLevel.Warning, "New connections are closed: {Why}. Open connections are kept.")]
    private partial void LogRefused(string why);
}
