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

/// <summary>One connection, until it ends or becomes Kestrel's.</summary>
internal sealed class FastPathConnection(FastPathMiddleware fastPath, ConnectionContext connection)
{
    /// <summary>
    /// How long a kept connection waits for its next request: libcurl repeats a push when its idle connection was
    /// closed.
    /// </summary>
    public static readonly TimeSpan KeepAliveTimeout = TimeSpan.FromMinutes(10);

    /// <summary>How long a client may leave answers unread, as in Kestrel.</summary>
    public static readonly TimeSpan TakeTimeout = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Limit of what is missing of a body, in bytes, up to which the fast path waits for it. Kestrel waits for more.
    /// </summary>
    private const int MissingBytesMax = 4_096;

    /// <summary>
    /// Limit of a push in bytes up to which it is handled on the socket engine's thread, which serves other connections
    /// too.
    /// </summary>
    private const int InlineBytesMax = 16_384;

    private readonly PipeReader _input = connection.Transport.Input;
    private readonly PipeWriter _output = connection.Transport.Output;
    private readonly PushRequestParser _head = new();
    private readonly IPEndPoint? _peer = connection.RemoteEndPoint as IPEndPoint;
    private CancellationTokenRegistration _closing;
    private bool _isTimed;

    /// <summary>Applies forwarded headers; made for the first request that has some.</summary>
    private DefaultHttpContext? _forwarded;

    /// <summary>The caller of the push at the front, once it is admitted, and the bytes that the push has.</summary>
    private Caller? _admitted;
    private int _admittedLength;

    /// <summary>Bytes of it that are held until the rest comes.</summary>
    private long _held;

    /// <summary>Bytes of a refused push that are still to come.</summary>
    private int _discard;

    /// <summary>What the connection waits for, and since when as the clock's timestamp.</summary>
    private volatile Waiting _waiting;
    private long _since;

    /// <summary>Whether a tick has passed since a request came in part.</summary>
    private volatile bool _isLate;

    private volatile bool _isClosed;

    private enum Waiting
    {
        Nothing,
        Request,
        Rest,
        Taking,
    }

    /// <summary>What becomes of the connection after a request.</summary>
    private enum Next
    {
        /// <summary>More bytes are needed.</summary>
        Wait,

        /// <summary>The request is answered; another one follows.</summary>
        Continue,

        /// <summary>The request is Kestrel's, and with it the connection.</summary>
        Kestrel,

        /// <summary>That was the last answer.</summary>
        Close,
    }

    /// <summary>Answers pushes until the connection ends, or until the first request that is Kestrel's.</summary>
    public async Task RunAsync(ConnectionDelegate kestrel)
    {
        bool isKestrels;
        try
        {
            isKestrels = await ServeAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The client is gone, or Kestrel's host cut the connection.
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

            // Kestrel's first request takes a tenth of a second to prepare; other connections of this thread do not
            // wait for it.
            await Task.Yield();
            await kestrel(connection);
        }
    }

    /// <summary>True when the next request is Kestrel's, false when the connection is over.</summary>
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
                // Not examined, so that Kestrel's first read returns it.
                _input.AdvanceTo(read.Buffer.GetPosition(done));
                return true;
            }

            _input.AdvanceTo(read.Buffer.GetPosition(done), read.Buffer.End);
            if (!wasPart || done > 0)
            {
                // The rest of another request.
                _isLate = false;
            }

            wasPart = isPart;
            Wait(isPart || _discard > 0 ? Waiting.Rest : Waiting.Request);
        }
    }

    /// <summary>Handles the request at the front; gives what follows, and how many bytes it used.</summary>
    private async ValueTask<(Next Next, int Used)> HandleAsync(ReadOnlyMemory<byte> received)
    {
        if (_admitted is not null && received.Length < _admittedLength)
        {
            return (Next.Wait, 0);
        }

        var reading = _head.Read(received, fastPath.Pushes.BodyBytesMax);
        if (reading != PushReading.Head)
        {
            return (reading == PushReading.Kestrels ? Next.Kestrel : Next.Wait, 0);
        }

        var missing = _head.Length - received.Length;
        return missing <= MissingBytesMax && TryReadTarget(out var registration) && IsServed(out var address)
            ? await AnswerAsync(received, registration, address, Math.Max(missing, 0))
            : (Next.Kestrel, 0);
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
        try
        {
            var caller = _admitted ?? await AdmitAsync(address);
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
                caller
            );
            status = fastPath.Responses.Write(_output, await fastPath.Pushes.PublishAsync(push), isLast);
        }
        catch (RefusedException refused)
        {
            _admitted = null;
            fastPath.Unfinished.Hold(ref _held, 0);

            // As Kestrel's way: a body that is not going to be read ends the connection.
            isLast |=
                _head.BodyLength > 0
                && Problems.StatusOf(refused) is StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden;
            observed ??= Observe();
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

    private async ValueTask<Caller> AdmitAsync(IPAddress? address)
    {
        var caller = await fastPath.FindCallerAsync(_head, address);
        fastPath.Pushes.Admit(caller, address);
        return caller;
    }

    private ObservedRequest? Observe() => fastPath.Telemetry.IsObserved ? fastPath.Telemetry.Begin(_head) : null;

    /// <summary>Looks the event up; false if the target names none, which is Kestrel's to refuse.</summary>
    private bool TryReadTarget(out EventRegistration? registration)
    {
        Span<char> name = stackalloc char[Names.MaxEventLength];
        var isEvent = Encoding.ASCII.TryGetChars(_head.Event, name, out var length) && Names.IsEvent(name[..length]);
        registration = isEvent ? fastPath.Pushes.Find(name[..length]) : null;
        return isEvent;
    }

    /// <summary>
    /// The address of the client, behind proxies that are trusted; false if the request names a host that is not
    /// served.
    /// </summary>
    private bool IsServed(out IPAddress? address)
    {
        address = _peer?.Address;
        if (!fastPath.Hosts.Allows(_head.Host))
        {
            return false;
        }

        if (
            !fastPath.Proxies.IsOn
            || (_head.ForwardedFor.IsEmpty && _head.ForwardedProto.IsEmpty && _head.ForwardedHost.IsEmpty)
        )
        {
            return true;
        }

        var request = (_forwarded ??= new DefaultHttpContext()).Request;
        (request.Scheme, request.Host) = ("http", new HostString(FastPathMiddleware.Text(_head.Host)));
        (_forwarded.Connection.RemoteIpAddress, _forwarded.Connection.RemotePort) = (address, _peer?.Port ?? 0);
        request.Headers.Clear();
        Forward("X-Forwarded-For", _head.ForwardedFor);
        Forward("X-Forwarded-Proto", _head.ForwardedProto);
        Forward("X-Forwarded-Host", _head.ForwardedHost);
        fastPath.Proxies.Apply(_forwarded);
        address = _forwarded.Connection.RemoteIpAddress;
        return true;

        void Forward(string name, ReadOnlySpan<byte> value)
        {
            if (!value.IsEmpty)
            {
                request.Headers[name] = FastPathMiddleware.Text(value);
            }
        }
    }

    /// <summary>Sends what is written; false if the client is gone.</summary>
    private async ValueTask<bool> FlushAsync()
    {
        var flushing = _output.FlushAsync();
        if (!flushing.IsCompleted)
        {
            Wait(Waiting.Taking);
        }

        var isGone = (await flushing).IsCompleted;
        _waiting = Waiting.Nothing;
        return !isGone;
    }

    /// <summary>Begins to wait, for a limited time.</summary>
    private void Wait(Waiting waiting)
    {
        if (!_isTimed)
        {
            // Not before the first byte, for which the listener waits.
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

    /// <summary>Called once a second.</summary>
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
            // A request that comes slowly is Kestrel's, which has limits for that, and may answer before all is there.
            if (_isLate)
            {
                _isClosed = _discard > 0;
                Wake();
            }

            _isLate = true;
        }
        else if (waiting == Waiting.Taking && elapsed > TakeTimeout)
        {
            connection.Abort(new ConnectionAbortedException("The client takes no answers."));
        }
    }

    /// <summary>
    /// Ends the read, on the pool: Kestrel may have to register for ticks, which is not possible during a tick.
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
