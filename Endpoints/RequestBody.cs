using System.Buffers;
using System.IO.Pipelines;
using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>
/// A request's complete body in one buffer: Kestrel's own if it is contiguous, else a pooled one. Valid until disposed.
/// </summary>
internal readonly struct RequestBody : IDisposable
{
    private readonly PipeReader? _reader;
    private readonly SequencePosition _end;
    private readonly byte[]? _rented;

    private RequestBody(
        ReadOnlyMemory<byte> bytes,
        PipeReader? reader = null,
        SequencePosition end = default,
        byte[]? rented = null
    )
    {
        (Bytes, _reader, _end, _rented) = (bytes, reader, end, rented);
    }

    /// <summary>The body as received.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>The body as JSON, trimmed of byte order mark and white space; <c>{}</c> for an empty body.</summary>
    public ReadOnlyMemory<byte> Json { get; private init; }

    /// <summary>Reads the body of any content type; invalid UTF-8 becomes U+FFFD and is counted.</summary>
    /// <exception cref="RefusedException">
    /// It is larger than the limit, or in an encoding that the broker doesn't know.
    /// </exception>
    public static async ValueTask<RequestBody> ReadAsync(HttpContext context, int maxBytes, BrokerTelemetry telemetry)
    {
        var body = await ReadAsync(context, maxBytes);
        var json = JsonText.Clean(body.Bytes, telemetry);
        if (json.Length <= maxBytes)
        {
            return body with { Json = json };
        }

        // Replacing invalid bytes has made it longer.
        body.Dispose();
        throw TooBig(context, maxBytes);
    }

    /// <summary>Reads the body of any content type, unchanged.</summary>
    /// <exception cref="RefusedException">
    /// It is larger than the limit, or in an encoding that the broker doesn't know.
    /// </exception>
    public static async ValueTask<RequestBody> ReadAsync(HttpContext context, int maxBytes)
    {
        if (context.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: false })
        {
            return new RequestBody(JsonText.EmptyObject);
        }

        if (context.Request.Headers.ContentEncoding is { Count: > 0 } encoding && encoding != "identity")
        {
            // Supported encodings were decompressed, and the header removed, by the middleware.
            throw Unread(
                context,
                ErrorCode.BadJson,
                $"Content-Encoding '{encoding}' is not understood; gzip, deflate and br are."
            );
        }

        if (context.Request.ContentLength > maxBytes)
        {
            throw TooBig(context, maxBytes);
        }

        var reader = context.Request.BodyReader;
        var unfinished = context.RequestServices.GetRequiredService<UnfinishedBodies>();
        var held = 0L;
        try
        {
            while (true)
            {
                var result = await ReadAsync(reader);
                var buffer = result.Buffer;
                if (buffer.Length > maxBytes)
                {
                    reader.AdvanceTo(buffer.End);
                    throw TooBig(context, maxBytes);
                }

                if (result.IsCompleted)
                {
                    return Finish(reader, buffer);
                }

                reader.AdvanceTo(buffer.Start, buffer.End);
                unfinished.Hold(ref held, buffer.Length);
            }
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.RateLimited)
        {
            // The rest of the body stays unread.
            context.Response.Headers.Connection = "close";
            throw;
        }
        finally
        {
            unfinished.Hold(ref held, 0);
        }
    }

    public void Dispose()
    {
        _reader?.AdvanceTo(_end);
        if (_rented is not null)
        {
            ArrayPool<byte>.Shared.Return(_rented);
        }
    }

    private static async ValueTask<ReadResult> ReadAsync(PipeReader reader)
    {
        try
        {
            return await reader.ReadAsync();
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException)
        {
            throw new RefusedException(
                ErrorCode.BadJson,
                $"The body is not what its Content-Encoding says: {e.Message}"
            );
        }
        catch (IOException e) when (e.InnerException is OverflowException)
        {
            // Kestrel's exception for an oversized chunk, the only one that is not a BadHttpRequestException.
            throw new BadHttpRequestException(e.Message, e);
        }
    }

    private static RequestBody Finish(PipeReader reader, ReadOnlySequence<byte> buffer)
    {
        if (buffer.IsSingleSegment)
        {
            return new RequestBody(buffer.First, reader, buffer.End);
        }

        var length = (int)buffer.Length;
        var rented = ArrayPool<byte>.Shared.Rent(length);
        buffer.CopyTo(rented);
        reader.AdvanceTo(buffer.End);
        return new RequestBody(rented.AsMemory(0, length), rented: rented);
    }

    private static RefusedException TooBig(HttpContext context, int maxBytes) =>
        Unread(context, ErrorCode.TooBig, $"The body is larger than {maxBytes} bytes.");

    /// <summary>A refusal that leaves the body unread, so that the connection closes.</summary>
    private static RefusedException Unread(HttpContext context, string code, string message)
    {
        context.Response.Headers.Connection = "close";
        return new RefusedException(code, message);
    }
}
