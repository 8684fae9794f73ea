using System.IO.Pipelines;
using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Routing;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Http.FastPath;

/// <summary>Serves the pushes of one connection, until it closes or is handed to Kestrel.</summary>
internal sealed class FastPathConnection(FastPathMiddleware fastPath, ConnectionContext connection)
{
    /// <summary>
    /// Limit for an idle kept-alive connection. Long, since libcurl repeats a push when its idle connection was closed.
    /// </summary>
    public static readonly TimeSpan KeepAliveTimeout = TimeSpan.FromMinutes(10);

    /// <summary>Limit for a flush that the client does not read, as in Kestrel.</summary>
    public static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Missing bytes of a body for which the fast path waits; a request that misses more goes to Kestrel.
    /// </summary>
    private const int MissingBytesMax = 4_096;

    /// <summary>
    /// Bytes of a push up to which it is handled inline, on the socket engine's thread, which serves other connections
    /// too.
    /// </summary>
    private const int InlineBytesMax = 16_384;

    private readonly PipeReader _input = connection.Transport.Input;
    private readonly PipeWriter _output = connection.Transport.Output;
    private readonly PushRequestParser _head = new();
    private readonly IPEndPoint? _peer = connection.RemoteEndPoint as IPEndPoint;
    private CancellationTokenRegistration _closing;
    private bool _isTimed;

    /// <summary>The last <c>X-Forwarded-For</c> of a trusted proxy, and the client's address that it gave.</summary>
    private byte[] _forwardedFor = [];
    private IPAddress? _client;

    /// <summary>The caller of the current push once it is admitted, and the push's bytes.</summary>
    private Caller? _admitted;
    private int _admittedLength;

    /// <summary>Whether the request that goes to Kestrel is a handshake of /ws.</summary>
    private bool _isHandshake;

    /// <summary>Bytes reserved in <see cref="UnfinishedBodies"/> until the body is complete.</summary>
    private long _held;

    /// <summary>Bytes of a refused push that are still to be received and discarded.</summary>
    private int _discard;

    /// <summary>
    /// What the connection waits for, and since when, as a timestamp of the <see cref="TimeProvider"/>.
    /// </summary>
    private volatile Waiting _waiting;
    private long _since;

    /// <summary>Whether a tick has passed since a partial request arrived.</summary>
    private volatile bool _isLate;

    private volatile bool _isClosed;

    private enum Waiting
    {
        Nothing,
        Request,
        Rest,
        Taking,
    }

    /// <summary>What follows a request.</summary>
    private enum Next
    {
        /// <summary>More bytes are needed.</summary>
        Wait,

        /// <summary>The request is answered; read the next one.</summary>
        Continue,

        /// <summary>Hand the request and the connection to Kestrel.</summary>
        Kestrel,

        /// <summary>Close the connection.</summary>
        Close,
    }

    /// <summary>
    /// Answers pushes until the connection closes, or hands it to Kestrel at the first other request.
    /// </summary>
    public async Task RunAsync(ConnectionDelegate kestrel)
    {
        bool isKestrels;
        try
        {
            isKestrels = await ServeAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The client disconnected, or Kestrel's host aborted the connection.
            return;
        }
        finally
        {
            _waiting = Waiting.Nothing;
            fastPath.Unfinished.Hold(ref _held, 0);
            await _closing.DisposeAsync();
        }

        if (isKestrels)
        {
            if (_admitted is not null)
            {
                connection.Features.Set(new AdmittedPush());
            }

            // Kestrel's first request takes 100 ms to prepare, and others may be slow; the thread's other connections
            // do not wait for them. A handshake takes less than its way to another thread once one has been served.
            if (!_isHandshake || !fastPath.HasServedHandshake)
            {
                await Task.Yield();
            }

            await kestrel(connection);
            fastPath.HasServedHandshake |= _isHandshake;
        }
    }

    /// <summary>True if the next request goes to Kestrel, false if the connection closes.</summary>
    private async Task<bool> ServeAsync()
    {
        var wasPart = false;
        while (true)
        {
            var read = await _input.ReadAsync();
            _waiting = Waiting.Nothing;
            var received = read.Buffer.First;
            var done = Math.Min(_discard, received.Length);
            _discard -= done;
            var next = Next.Continue;
            while (next == Next.Continue && done < received.Length)
            {
                (next, var used) = await HandleAsync(received[done..]);
                done += used;
            }

            var isPart = done < received.Length;
            if (next == Next.Close || _isClosed || (read.IsCompleted && !isPart))
            {
                return false;
            }

            if (isPart && (next == Next.Kestrel || read.IsCanceled || read.IsCompleted))
            {
                _isHandshake = received.Span[done..].StartsWith("GET /ws"u8);

                // The request is not marked as examined, so that Kestrel's first read returns it.
                _input.AdvanceTo(read.Buffer.GetPosition(done));
                return true;
            }

            _input.AdvanceTo(read.Buffer.GetPosition(done), read.Buffer.End);
            if (!wasPart || done > 0)
            {
                // The rest belongs to another request.
                _isLate = false;
            }

            wasPart = isPart;
            Wait(isPart || _discard > 0 ? Waiting.Rest : Waiting.Request);
        }
    }

    /// <summary>Handles the first received request; returns what follows, and the bytes consumed.</summary>
    private ValueTask<(Next Next, int Used)> HandleAsync(ReadOnlyMemory<byte> received)
    {
        if (_admitted is not null && received.Length < _admittedLength)
        {
            return new((Next.Wait, 0));
        }

        var reading = _head.Read(received, fastPath.Pushes.BodyBytesMax);
        if (reading != PushReading.Head)
        {
            return new((reading == PushReading.Unsupported ? Next.Kestrel : Next.Wait, 0));
        }

        var missing = _head.Length - received.Length;
        return missing <= MissingBytesMax && TryReadTarget(out var registration) && IsServed(out var address)
            ? AnswerAsync(received, registration, address, Math.Max(missing, 0))
            : new((Next.Kestrel, 0));
    }

    /// <summary>Admits a push at the end of its head, and publishes it when its body is complete.</summary>
    private async ValueTask<(Next Next, int Used)> AnswerAsync(
        ReadOnlyMemory<byte> received,
        EventRegistration? registration,
        IPAddress? address,
        int missing
    )
    {
        ObservedRequest? observed = null;
        var isLast = _head.IsLast || fastPath.IsDraining;
        int status;
        var known = _admitted;
        try
        {
            var caller = known;
            if (caller is null)
            {
                caller = await fastPath.FindCallerAsync(_head, address);
                fastPath.Pushes.Admit(caller, address);
                known = caller;
            }

            if (missing > 0)
            {
                (_admitted, _admittedLength) = (caller, _head.Length);
                fastPath.Unfinished.Hold(ref _held, received.Length);
                return (Next.Wait, 0);
            }

            _admitted = null;
            fastPath.Unfinished.Hold(ref _held, 0);
            observed = Observe();
            if (_head.Length > InlineBytesMax)
            {
                await Task.Yield();
            }

            var push = new PushRequest(
                registration,
                received[_head.HeadLength.._head.Length],
                TextOrNull(_head.IdempotencyKey),
                TextOrNull(_head.TraceParent),
                caller,
                registration is null && fastPath.Pushes.NeedsName ? FastPathMiddleware.Text(_head.Event) : null,
                IsSampled: observed is not { IsSampled: false }
            );
            var publishing = fastPath.Pushes.PublishAsync(push);
            if (observed is not null && !publishing.IsCompleted)
            {
                observed = fastPath.Telemetry.Await(observed.Value);
            }

            status = fastPath.Responses.Write(_output, await publishing, isLast);
        }
        catch (RefusedException refused)
        {
            _admitted = null;
            fastPath.Unfinished.Hold(ref _held, 0);

            // As in Kestrel, a body that is not read closes the connection.
            isLast |=
                _head.BodyLength > 0
                && Problems.StatusOf(refused) is StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden;
            observed ??= Observe();
            if (fastPath.Pushes.Tail.IsOpen)
            {
                var @event = FastPathMiddleware.Text(_head.Event);
                fastPath.Pushes.Tail.Refused(new Origin(Origin.Http, known?.Name, @event), refused);
            }

            status = fastPath.Responses.Write(_output, refused, isLast);
        }
        catch (Exception e)
        {
            Problems.LogFailed(fastPath.Logger, "/_notify", e);
            observed ??= Observe();
            status = fastPath.Responses.WriteFailure(_output, isLast);
        }

        if (observed is { } request)
        {
            fastPath.Telemetry.End(request, status);
        }

        _discard = missing;
        return (await FlushAsync() && !isLast ? Next.Continue : Next.Close, _head.Length - missing);
    }

    private ObservedRequest? Observe() => fastPath.Telemetry.IsObserved ? RequestTelemetry.Begin(_head) : null;

    /// <summary>Looks the event up; false if the target is not an event's name, which Kestrel refuses.</summary>
    private bool TryReadTarget(out EventRegistration? registration)
    {
        Span<char> name = stackalloc char[Names.MaxEventLength];
        var isEvent = Encoding.ASCII.TryGetChars(_head.Event, name, out var length) && Names.IsEvent(name[..length]);
        registration = isEvent ? fastPath.Pushes.Find(name[..length]) : null;
        return isEvent;
    }

    /// <summary>Finds the client's address behind trusted proxies; false if the request's host is not served.</summary>
    private bool IsServed(out IPAddress? address)
    {
        address = _peer?.Address;
        if (!fastPath.Hosts.Allows(_head.Host))
        {
            return false;
        }

        if (!fastPath.Proxies.IsOn || _head.ForwardedFor.IsEmpty)
        {
            return true;
        }

        if (!_head.ForwardedFor.SequenceEqual(_forwardedFor))
        {
            _forwardedFor = _head.ForwardedFor.ToArray();
            _client = fastPath.Proxies.ClientOf(_peer, FastPathMiddleware.Text(_forwardedFor));
        }

        address = _client;
        return true;
    }

    /// <summary>Flushes the output; false if the client has disconnected.</summary>
    private ValueTask<bool> FlushAsync()
    {
        var flushing = _output.FlushAsync();
        return flushing.IsCompletedSuccessfully ? new(!flushing.Result.IsCompleted) : WaitForFlushAsync(flushing);
    }

    private async ValueTask<bool> WaitForFlushAsync(ValueTask<FlushResult> flushing)
    {
        Wait(Waiting.Taking);
        var isGone = (await flushing).IsCompleted;
        _waiting = Waiting.Nothing;
        return !isGone;
    }

    /// <summary>Starts a timed wait.</summary>
    private void Wait(Waiting waiting)
    {
        if (!_isTimed)
        {
            // Not before the first byte, whose limit the listener enforces.
            _isTimed = true;
            connection
                .Features.GetRequiredFeature<IConnectionHeartbeatFeature>()
                .OnHeartbeat(static self => ((FastPathConnection)self).Tick(), this);
            _closing = connection
                .Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>()
                .ConnectionClosedRequested.UnsafeRegister(static self => ((FastPathConnection)self!).Close(), this);
        }

        Volatile.Write(ref _since, fastPath.Time.GetTimestamp());
        _waiting = waiting;
    }

    /// <summary>Applies the time limits; called once a second.</summary>
    private void Tick()
    {
        var waiting = _waiting;
        var elapsed = fastPath.Time.GetElapsedTime(Volatile.Read(ref _since));
        if (waiting == Waiting.Request && elapsed > KeepAliveTimeout)
        {
            _isClosed = true;
            Wake();
        }
        else if (waiting == Waiting.Rest)
        {
            // A slow request goes to Kestrel, which limits its data rate and can answer before the body is complete.
            if (_isLate)
            {
                _isClosed = _discard > 0;
                Wake();
            }

            _isLate = true;
        }
        else if (waiting == Waiting.Taking && elapsed > FlushTimeout)
        {
            connection.Abort(new ConnectionAbortedException("The client takes no answers."));
        }
    }

    /// <summary>
    /// Cancels the pending read, on the thread pool: Kestrel may register for ticks, which is not possible during a
    /// tick.
    /// </summary>
    private void Wake() =>
        ThreadPool.UnsafeQueueUserWorkItem(static input => input.CancelPendingRead(), _input, preferLocal: false);

    private void Close()
    {
        _isClosed = true;
        _input.CancelPendingRead();
    }

    private static string? TextOrNull(ReadOnlySpan<byte> header) =>
        header.IsEmpty ? null : FastPathMiddleware.Text(header);
}
