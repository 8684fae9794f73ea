using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Dmb.Connections;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Endpoints;

/// <summary>
/// Answers pushes and handshakes before the server does, on connections where they come as plain requests (<see cref="PlainRequest"/>): what a
/// server makes for a request is more than both need. The first other request on a connection is the server's, and all after it.
/// </summary>
internal sealed class PlainConnections(
    Pushes pushes, Handshakes handshakes, SessionTable sessions, TimeProvider time, IMeterFactory meters, ILogger<PlainConnections> logger)
{
    /// <summary>The server's own spans and metrics, of which one stands for all: where somebody wants those, all requests are the server's.</summary>
    private static readonly ActivitySource Spans = new("Microsoft.AspNetCore");
    private readonly UpDownCounter<long> _requests = meters.Create("Microsoft.AspNetCore.Hosting").CreateUpDownCounter<long>(
        "http.server.active_requests", "{request}", "Number of active HTTP server requests.");

    private volatile DateText _date = new(0, []);

    public Pushes Pushes => pushes;

    public Handshakes Handshakes => handshakes;

    public TimeProvider Time => time;

    public ILogger Logger => logger;

    /// <summary>Whether each answer is the last on its connection.</summary>
    public bool IsDraining => sessions.IsDraining;

    /// <summary>Whether nobody asks for what the server tells of its requests.</summary>
    public bool AreUnwatched => !Spans.HasListeners() && !_requests.Enabled;

    /// <summary>The header of that name (RFC 9110 §5.6.7), made once a second.</summary>
    public ReadOnlySpan<byte> Date()
    {
        var now = time.GetUtcNow();
        var second = now.ToUnixTimeSeconds();
        var date = _date;
        if (date.Second != second)
        {
            _date = date = new DateText(second, Encoding.ASCII.GetBytes(now.ToString("R", CultureInfo.InvariantCulture)));
        }

        return date.Text;
    }

    /// <summary>Stands before the server on each connection.</summary>
    public ConnectionDelegate Before(ConnectionDelegate server) => connection => new PlainConnection(this, connection).RunAsync(server);

    private sealed record DateText(long Second, byte[] Text);
}

/// <summary>One connection, until it ends or becomes the server's.</summary>
internal sealed class PlainConnection(PlainConnections connections, ConnectionContext connection)
{
    /// <summary>How long a connection is kept that waits for its next request. libcurl sends a push again when its idle connection was closed without a word.</summary>
    public static readonly TimeSpan KeepAliveTimeout = TimeSpan.FromMinutes(10);

    /// <summary>How long a client may not take its answers, as the server has it.</summary>
    public static readonly TimeSpan TakeTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Bytes of a push up to which it is read on the thread that saw it come; more would keep others waiting.</summary>
    private const int InlineMax = 16_384;

    /// <summary>What a head of an answer has at most, in bytes.</summary>
    private const int HeadMax = 256;

    private readonly PipeReader _input = connection.Transport.Input;
    private readonly PipeWriter _output = connection.Transport.Output;
    private readonly IPAddress? _address = (connection.RemoteEndPoint as IPEndPoint)?.Address;
    private CancellationTokenRegistration _closing;
    private bool _isTimed;

    /// <summary>What is waited for, and since when by the clock's timestamp.</summary>
    private volatile Waiting _waiting;
    private long _since;

    /// <summary>Whether a second has begun since a request came in part.</summary>
    private volatile bool _isLate;

    private volatile bool _isClosed;

    private enum Waiting
    {
        Nothing,
        Request,
        Rest,
        Taking,
    }

    /// <summary>Answers plain requests to the connection's end, or to the first request that is the server's.</summary>
    public async Task RunAsync(ConnectionDelegate server)
    {
        bool isServers;
        try
        {
            isServers = await ServeAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The client is gone, or the server cut it off.
            return;
        }
        finally
        {
            _waiting = Waiting.Nothing;
            await _closing.DisposeAsync();
        }

        if (isServers)
        {
            // Its first request takes a tenth of a second to get everything ready; nobody else need wait for that.
            await Task.Yield();
            await server(connection);
        }
    }

    /// <summary>Whether what comes next is the server's.</summary>
    private async Task<bool> ServeAsync()
    {
        var wasPart = false;
        while (true)
        {
            var read = await _input.ReadAsync();
            _waiting = Waiting.Nothing;
            var came = read.Buffer.First;
            var reading = Reading.Part;
            var done = 0;
            while (done < came.Length && (reading = Read(came[done..], out var push, out var handshake)) == Reading.Whole)
            {
                done += handshake.Length + push.Length;
                if (handshake.Length > 0 ? await OpenAsync(handshake, read.Buffer.GetPosition(done)) : !await AnswerAsync(push))
                {
                    return false;
                }
            }

            var isPart = done < came.Length;
            if (_isClosed || (read.IsCompleted && !isPart))
            {
                return false;
            }

            if (isPart && (reading == Reading.Other || read.IsCanceled || read.IsCompleted))
            {
                // Not examined: the server's first read has it.
                _input.AdvanceTo(read.Buffer.GetPosition(done));
                return true;
            }

            _input.AdvanceTo(read.Buffer.GetPosition(done), read.Buffer.End);
            if (!wasPart || done > 0)
            {
                // The rest of another one.
                _isLate = false;
            }

            wasPart = isPart;
            Wait(isPart ? Waiting.Rest : Waiting.Request);
        }
    }

    /// <summary>Reads a push or a handshake; the other has no length then.</summary>
    private Reading Read(ReadOnlyMemory<byte> came, out Push push, out Handshake handshake)
    {
        (push, handshake) = (default, default);
        var reading = PlainRequest.Read(came.Span, connections.Pushes.BodyMax, out var request);
        return reading != Reading.Whole
            || (connections.AreUnwatched && (connections.Pushes.TryRead(request, came, out push) || connections.Handshakes.TryRead(request, connection, out handshake))) ? reading : Reading.Other;
    }

    /// <summary>Answers a push; false if that was the last.</summary>
    private async ValueTask<bool> AnswerAsync(Push push)
    {
        var isLast = push.IsLast || connections.IsDraining;
        if (push.Length > InlineMax)
        {
            await Task.Yield();
        }

        try
        {
            Write(await connections.Pushes.PublishAsync(push, _address), isLast);
        }
        catch (RefusedException refused)
        {
            // Whoever may not push is sent away, as by the server, which doesn't read what they send.
            isLast |= !push.Body.IsEmpty && Problems.StatusOf(refused) is StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden;
            Write(refused, isLast);
        }
        catch (Exception e)
        {
            Problems.LogFailed(connections.Logger, "/_notify", e);
            const int Failed = StatusCodes.Status500InternalServerError;
            Write(Failed, Problems.ContentType, Problems.Write(Failed, ErrorCode.Internal, Problems.FailureDetail), isLast);
        }

        return await FlushAsync() && !isLast;
    }

    /// <summary>Answers a handshake, and serves the session that it opens; false if it is refused. The connection is the session's then.</summary>
    private async ValueTask<bool> OpenAsync(Handshake handshake, SequencePosition end)
    {
        AdmittedSession admitted;
        try
        {
            admitted = await connections.Handshakes.AdmitAsync(handshake, _address);
        }
        catch (RefusedException refused)
        {
            Write(refused, connections.IsDraining);
            return !await FlushAsync() || connections.IsDraining;
        }

        _input.AdvanceTo(end);
        connections.Handshakes.Serve((SocketConnection)connection, handshake, admitted);
        return true;
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

    private void Write(RefusedException refused, bool isLast)
    {
        var status = Problems.StatusOf(refused);
        Write(status, Problems.ContentType, Problems.Write(status, refused.Code, refused.Message), isLast, Problems.HeaderOf(refused));
    }

    private void Write(Published published, bool isLast)
    {
        Span<byte> answer = stackalloc byte[Pushes.AnswerBytesMax];
        Write(Pushes.StatusOf(published), "application/json", answer[..Pushes.WriteAnswer(published, answer)], isLast);
    }

    private void Write(int status, string contentType, ReadOnlySpan<byte> body, bool isLast, (string Name, string Value)? header = null)
    {
        var all = _output.GetSpan(HeadMax + body.Length);
        var rest = all;
        JsonText.Put("HTTP/1.1 "u8, ref rest);
        if (status == StatusCodes.Status200OK)
        {
            JsonText.Put("200 OK"u8, ref rest);
        }
        else
        {
            Put($"{status} {ReasonPhrases.GetReasonPhrase(status)}", ref rest);
        }

        JsonText.Put("\r\nContent-Length: "u8, ref rest);
        body.Length.TryFormat(rest, out var digits, default, CultureInfo.InvariantCulture);
        rest = rest[digits..];
        JsonText.Put("\r\nContent-Type: "u8, ref rest);
        Put(contentType, ref rest);
        JsonText.Put("\r\nDate: "u8, ref rest);
        JsonText.Put(connections.Date(), ref rest);
        if (header is var (name, value))
        {
            Put($"\r\n{name}: {value}", ref rest);
        }

        JsonText.Put(isLast ? "\r\nConnection: close\r\n\r\n"u8 : "\r\n\r\n"u8, ref rest);
        JsonText.Put(body, ref rest);
        _output.Advance(all.Length - rest.Length);
    }

    private static void Put(string text, ref Span<byte> target) => target = target[Encoding.ASCII.GetBytes(text, target)..];

    /// <summary>What is waited for from now on, not longer than it may take.</summary>
    private void Wait(Waiting waiting)
    {
        if (!_isTimed)
        {
            // Not before there is something of ours: the first byte is the listener's to wait for.
            _isTimed = true;
            connection.Features.GetRequiredFeature<IConnectionHeartbeatFeature>().OnHeartbeat(static plain => ((PlainConnection)plain).Tick(), this);
            _closing = connection.Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>().ConnectionClosedRequested
                .UnsafeRegister(static plain => ((PlainConnection)plain!).Close(), this);
        }

        Volatile.Write(ref _since, connections.Time.GetTimestamp());
        _waiting = waiting;
    }

    /// <summary>Comes every second.</summary>
    private void Tick()
    {
        var waiting = _waiting;
        var elapsed = connections.Time.GetElapsedTime(Volatile.Read(ref _since));
        if (waiting == Waiting.Request && elapsed > KeepAliveTimeout)
        {
            _isClosed = true;
            Wake();
        }
        else if (waiting == Waiting.Rest)
        {
            // A request that comes slowly is the server's to wait for, which has limits for that, and may have an answer before all is there.
            if (_isLate)
            {
                Wake();
            }

            _isLate = true;
        }
        else if (waiting == Waiting.Taking && elapsed > TakeTimeout)
        {
            connection.Abort(new ConnectionAbortedException("The client takes no answers."));
        }
    }

    /// <summary>Lets the read end, and what follows run elsewhere: the server may want to be ticked too, which can't be said while it ticks.</summary>
    private void Wake() => ThreadPool.UnsafeQueueUserWorkItem(static input => input.CancelPendingRead(), _input, preferLocal: false);

    private void Close()
    {
        _isClosed = true;
        _input.CancelPendingRead();
    }
}
