using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Telemetry;

/// <summary>Settings of the log on standard output.</summary>
internal sealed class LogOptions
{
    [Description("Format of log lines: `text`, or `json` with one object a line. Times are ISO 8601.")]
    [AllowedValues("text", "json")]
    public string Log { get; set; } = "text";
}
