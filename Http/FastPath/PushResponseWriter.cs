using System.Buffers;
using System.Globalization;
using System.Text;
using Dmb.Endpoints;
using Dmb.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Http.FastPath;

/// <summary>Writes the responses of pushes as HTTP/1.1, with the headers of Kestrel's responses.</summary>
internal sealed class PushResponseWriter(TimeProvider time)
{
    /// <summary>Maximum bytes of a response's head.</summary>
    private const int HeadBytesMax = 256;

    private volatile DateText _date = new(0, []);

    /// <summary>Writes the response of an accepted or ignored push; returns its status.</summary>
    public int Write(IBufferWriter<byte> output, PublishResult published, bool isLast)
    {
        Span<byte> body = stackalloc byte[NotifyAnswers.BytesMax];
        var status = NotifyAnswers.StatusOf(published);
        Write(output, status, "application/json", body[..NotifyAnswers.Write(published, body)], isLast);
        return status;
    }

    /// <summary>Writes the response of a refused push; returns its status.</summary>
    public int Write(IBufferWriter<byte> output, RefusedException refused, bool isLast)
    {
        var status = Problems.StatusOf(refused);
        var body = Problems.Write(status, refused.Code, refused.Message);
        Write(output, status, Problems.ContentType, body, isLast, Problems.HeaderOf(refused));
        return status;
    }

    /// <summary>Writes the response 500 of a push that failed; returns its status.</summary>
    public int WriteFailure(IBufferWriter<byte> output, bool isLast)
    {
        const int Status = StatusCodes.Status500InternalServerError;
        Write(
            output,
            Status,
            Problems.ContentType,
            Problems.Write(Status, ErrorCode.Internal, Problems.FailureDetail),
            isLast
        );
        return Status;
    }

    private void Write(
        IBufferWriter<byte> output,
        int status,
        string contentType,
        ReadOnlySpan<byte> body,
        bool isLast,
        (string Name, string Value)? header = null
    )
    {
        var all = output.GetSpan(HeadBytesMax + body.Length);
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
        JsonText.Put(Date(), ref rest);
        if (header is var (name, value))
        {
            Put($"\r\n{name}: {value}", ref rest);
        }

        JsonText.Put(isLast ? "\r\nConnection: close\r\n\r\n"u8 : "\r\n\r\n"u8, ref rest);
        JsonText.Put(body, ref rest);
        output.Advance(all.Length - rest.Length);
    }

    /// <summary>The value of <c>Date</c> (RFC 9110 §5.6.7), formatted once a second.</summary>
    private ReadOnlySpan<byte> Date()
    {
        var now = time.GetUtcNow();
        var second = now.ToUnixTimeSeconds();
        var date = _date;
        if (date.Second != second)
        {
            _date = date = new DateText(
                second,
                Encoding.ASCII.GetBytes(now.ToString("R", CultureInfo.InvariantCulture))
            );
        }

        return date.Text;
    }

    private static void Put(string text, ref Span<byte> target) =>
        target = target[Encoding.ASCII.GetBytes(text, target)..];

    private sealed record DateText(long Second, byte[] Text);
}
