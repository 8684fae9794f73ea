using System.Buffers;
using System.Net.Mime;
using Dmb.Sockets;
using Dmb.Transport;

namespace Dmb.Endpoints;

/// <summary>The GETs and POSTs of clients that poll (Engine.IO Protocol, "HTTP long-polling").</summary>
internal sealed class SocketIoPolling(EngineIoSessions engines)
{
    public static async Task PollAsync(HttpContext context, EngineIoSession engine)
    {
        if (engine.Polling is not { } polling)
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        engine.Session.RecordActivity();
        var polled = polling.PollAsync(out var isSecond);
        if (isSecond)
        {
            engine.End(isClosedByClient: false);
        }

        byte[]? payload;
        if (polled.IsCompleted)
        {
            payload = await polled;
        }
        else
        {
            context.Features.Get<SocketConnection>()?.Watch();
            await using (
                context.RequestAborted.Register(static e => ((EngineIoSession)e!).End(isClosedByClient: false), engine)
            )
            {
                payload = await polled;
            }
        }

        if (payload is null)
        {
            await EngineIoAnswer.RefuseAsync(
                context,
                isSecond ? EngineIoError.BadRequest : EngineIoError.UnknownSession
            );
            return;
        }

        await EngineIoAnswer.WriteAsync(context, StatusCodes.Status200OK, "text/plain; charset=UTF-8", payload);
    }

    /// <summary>Takes the packets of a POST.</summary>
    public async Task PostAsync(HttpContext context, EngineIoSession engine)
    {
        if (!engine.TryBeginPost())
        {
            engine.End(isClosedByClient: false);
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        EngineIoError? error;
        try
        {
            error = await ReadAsync(context, engine);
        }
        finally
        {
            // Before the answer, behind which the next POST may come.
            engine.EndPost();
        }

        await (
            error is null
                ? EngineIoAnswer.WriteAsync(
                    context,
                    StatusCodes.Status200OK,
                    MediaTypeNames.Text.Html,
                    "ok"u8.ToArray()
                )
                : EngineIoAnswer.RefuseAsync(context, error)
        );
    }

    /// <summary>Reads a body and hands its packets to the session; null if all is well.</summary>
    private async ValueTask<EngineIoError?> ReadAsync(HttpContext context, EngineIoSession engine)
    {
        var (max, declared) = (engines.MaxPayloadBytes, context.Request.ContentLength);
        if (declared > max)
        {
            return EngineIoError.TooBig;
        }

        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(declared ?? max, max) + 1);
        try
        {
            if (await ReadBodyAsync(context, engine, buffer) is not { } length)
            {
                return EngineIoError.BadRequest;
            }

            if (length > max)
            {
                return EngineIoError.TooBig;
            }

            engine.Session.RecordActivity();
            return await ReceiveAsync(context, engine, buffer.AsMemory(0, length)) ? null : EngineIoError.BadRequest;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async ValueTask<bool> ReceiveAsync(
        HttpContext context,
        EngineIoSession engine,
        ReadOnlyMemory<byte> body
    )
    {
        var isBinary =
            context.Request.ContentType?.StartsWith(
                MediaTypeNames.Application.Octet,
                StringComparison.OrdinalIgnoreCase
            ) == true;
        var reader = new EngineIoPayloadReader(engine.Version, body, isBinary);
        try
        {
            while (reader.TryRead(out var packet))
            {
                // A closing session is only closed faster.
                if (engine.Session.IsClosing && packet.Type != EngineIoPacket.Close)
                {
                    break;
                }

                if (!await engine.ReceiveAsync(packet))
                {
                    return false;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The session ended before it was open.
            return false;
        }

        if (reader.IsMalformed)
        {
            engine.End(isClosedByClient: false);
        }

        return !reader.IsMalformed;
    }

    /// <summary>Fills the buffer from the body; null if the client went meanwhile, which ends the session.</summary>
    private static async ValueTask<int?> ReadBodyAsync(HttpContext context, EngineIoSession engine, byte[] buffer)
    {
        try
        {
            return await context.Request.Body.ReadAtLeastAsync(
                buffer,
                buffer.Length,
                throwOnEndOfStream: false,
                context.RequestAborted
            );
        }
        catch (Exception e)
            when (e
                    is OperationCanceledException
                        or IOException
                        and not BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge }
            )
        {
            engine.End(isClosedByClient: false);
            return null;
        }
    }
}
